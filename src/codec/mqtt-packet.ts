/** The MQTT packets of `tidegate/codec`: one object type for each, told apart by `type`. Types only. */

/** Protocol version: 3.1, 3.1.1 or 5. */
export type MqttVersion = 3 | 4 | 5
export type Qos = 0 | 1 | 2

/** Properties of MQTT 5 by name; seconds and bytes where the specification says so. */
export interface MqttProperties {
  payloadFormat?: boolean
  messageExpiry?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  /** More than one only in a PUBLISH to a client. */
  subscriptionIds?: readonly number[]
  sessionExpiry?: number
  assignedClientId?: string
  serverKeepAlive?: number
  authMethod?: string
  authData?: Uint8Array
  requestProblemInfo?: boolean
  willDelay?: number
  requestResponseInfo?: boolean
  responseInfo?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQos?: number
  retainAvailable?: boolean
  /** In their order; a name may come twice. */
  user?: readonly (readonly [name: string, value: string])[]
  maximumPacketSize?: number
  wildcardAvailable?: boolean
  subscriptionIdsAvailable?: boolean
  sharedAvailable?: boolean
}

interface Base {
  /** Version 5 only; default none. */
  readonly properties?: MqttProperties
}

interface Identified extends Base {
  /** 1 to 65,535. */
  readonly packetId: number
}

export interface MqttWill extends Base {
  readonly qos: Qos
  readonly retain: boolean
  readonly topic: string
  readonly payload: Uint8Array | string
}

export interface MqttConnect extends Base {
  readonly type: "connect"
  readonly version: MqttVersion
  /** Of a broker's bridge, which gets nothing back that it sent; before version 5 only. Default false. */
  readonly isBridge?: boolean
  readonly cleanStart: boolean
  /** Seconds; 0: none. */
  readonly keepAlive: number
  readonly clientId: string
  readonly will: MqttWill | null
  readonly userName: string | null
  readonly password: Uint8Array | string | null
}

export interface MqttConnack extends Base {
  readonly type: "connack"
  readonly sessionPresent: boolean
  readonly code: number
}

export interface MqttPublish extends Base {
  readonly type: "publish"
  readonly topic: string
  /** Decoded: a view of the bytes that were given. */
  readonly payload: Uint8Array | string
  /** Default 0. */
  readonly qos?: Qos
  /** Default false. */
  readonly retain?: boolean
  /** Default false. */
  readonly dup?: boolean
  /** 0 at QoS 0. */
  readonly packetId?: number
}

export interface MqttAck extends Identified {
  readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp"
  /** Default 0. */
  readonly reason?: number
}

export interface MqttFilter {
  readonly filter: string
  readonly qos: Qos
  /** Version 5; default false. */
  readonly noLocal?: boolean
  /** Version 5; default false. */
  readonly retainAsPublished?: boolean
  /** Version 5; 0 send, 1 send if new, 2 do not send; default 0. */
  readonly retainHandling?: 0 | 1 | 2
}

export interface MqttSubscribe extends Identified {
  readonly type: "subscribe"
  readonly filters: readonly MqttFilter[]
}

export interface MqttUnsubscribe extends Identified {
  readonly type: "unsubscribe"
  readonly filters: readonly string[]
}

export interface MqttSuback extends Identified {
  readonly type: "suback" | "unsuback"
  readonly codes: readonly number[]
}

export interface MqttPing {
  readonly type: "pingreq" | "pingresp"
}

export interface MqttGoodbye extends Base {
  readonly type: "disconnect" | "auth"
  /** Default 0. */
  readonly reason?: number
}

export type MqttPacket =
  | MqttConnect
  | MqttConnack
  | MqttPublish
  | MqttAck
  | MqttSubscribe
  | MqttUnsubscribe
  | MqttSuback
  | MqttPing
  | MqttGoodbye
