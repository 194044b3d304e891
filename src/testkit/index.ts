/** Parts of `tidegate/testing`: a gateway for a test, and devices that talk to it. */
export { type CoapAnswer, CoapDevice, type CoapObservation } from "./coap-device.ts"
export { type DevicePublish, MqttDevice, type MqttDeviceOptions } from "./mqtt-device.ts"
export { fromLines, type RecordedMessage, type Recording, record } from "./recording.ts"
export { TestGateway } from "./test-gateway.ts"
export { WebSocketDevice, type WebSocketOptions } from "./websocket-device.ts"
