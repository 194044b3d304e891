/** The properties of MQTT 5 by name, and as identifier and value across the boundary (section 2.2.2.2). */
import { isUint8Array } from "node:util/types"
import { TidegateError } from "../errors.ts"
import { type Fields, fieldAt, type Span } from "./crossing.ts"
import type { MqttProperties } from "./mqtt-packet.ts"

/** Identifier and value; bytes as their place, a user property as a pair. */
export type Entry = readonly [id: number, value: unknown]

const IDS: Readonly<Record<keyof MqttProperties, number>> = {
  payloadFormat: 1,
  messageExpiry: 2,
  contentType: 3,
  responseTopic: 8,
  correlationData: 9,
  subscriptionIds: 11,
  sessionExpiry: 17,
  assignedClientId: 18,
  serverKeepAlive: 19,
  authMethod: 21,
  authData: 22,
  requestProblemInfo: 23,
  willDelay: 24,
  requestResponseInfo: 25,
  responseInfo: 26,
  serverReference: 28,
  reasonString: 31,
  receiveMaximum: 33,
  topicAliasMaximum: 34,
  topicAlias: 35,
  maximumQos: 36,
  retainAvailable: 37,
  user: 38,
  maximumPacketSize: 39,
  wildcardAvailable: 40,
  subscriptionIdsAvailable: 41,
  sharedAvailable: 42,
}
const NAMES = new Map(Object.entries(IDS).map(([name, id]) => [id, name]))
const REPEATED = new Set([11, 38])

export function toProperties(entries: readonly Entry[], bytes: Buffer): MqttProperties {
  const properties: Record<string, unknown> = {}
  for (const [id, value] of entries) {
    const name = NAMES.get(id) ?? String(id)
    if (REPEATED.has(id)) properties[name] = [...((properties[name] as unknown[] | undefined) ?? []), value]
    else properties[name] = id === 9 || id === 22 ? fieldAt(bytes, value as Span) : value
  }
  return properties
}

export function toEntries(properties: MqttProperties | undefined, fields: Fields): Entry[] {
  const entries: Entry[] = []
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined) continue
    const id = IDS[name as keyof MqttProperties]
    if (id === undefined) throw new TidegateError("CODEC_INVALID", `"${name}" is no property of MQTT 5`)
    if (REPEATED.has(id)) for (const each of value as readonly unknown[]) entries.push([id, each])
    else entries.push([id, isUint8Array(value) ? fields.add(value) : value])
  }
  return entries
}
