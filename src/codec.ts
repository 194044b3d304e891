/** `tidegate/codec`: the gateway's own codecs for programs: `mqtt` and `coap`. Exports only. */

export type { CoapMessage, CoapOption } from "./codec/coap.ts"
export * as coap from "./codec/coap.ts"
export type { MqttDecodeOptions, MqttDecoder, MqttEncodeOptions } from "./codec/mqtt.ts"
export * as mqtt from "./codec/mqtt.ts"
export type * from "./codec/mqtt-packet.ts"
