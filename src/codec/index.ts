/** The gateway's own codecs for programs, by protocol. Exports only. */
export type { CoapMessage, CoapOption } from "./coap.ts"
export * as coap from "./coap.ts"
export type { CoapFrame, CoapTcpDecodeOptions } from "./coap-tcp.ts"
export * as coapTcp from "./coap-tcp.ts"
export type { MqttDecodeOptions, MqttDecoder, MqttEncodeOptions } from "./mqtt.ts"
export * as mqtt from "./mqtt.ts"
export type * from "./mqtt-packet.ts"
