// Decoding and encoding one MQTT and one CoAP packet. The JavaScript packages are what
// a Node gateway would use; the native side is measured where the addon has it.
import coap from "coap-packet"
import mqtt from "mqtt-packet"

export const title = "codec: one packet a call"

export async function open() {
  const publish = {
    cmd: "publish",
    topic: "plant/1/temp",
    payload: Buffer.from("21.5"),
    qos: 1,
    messageId: 7,
    retain: false,
    dup: false,
  }
  const bytes = mqtt.generate(publish)
  const parser = mqtt.parser()
  parser.on("packet", () => {})
  const get = {
    code: "0.01",
    messageId: 7,
    token: Buffer.from("t"),
    options: [{ name: "Uri-Path", value: Buffer.from("t") }],
  }
  const datagram = coap.generate(get)
  const rows = [
    { name: "mqtt-packet decode PUBLISH", run: () => parser.parse(bytes) },
    { name: "mqtt-packet encode PUBLISH", run: () => mqtt.generate(publish) },
    { name: "coap-packet decode GET", run: () => coap.parse(datagram) },
    { name: "coap-packet encode GET", run: () => coap.generate(get) },
  ]
  return { rows, missing: ["the native codecs: this version does not export them to JavaScript yet"] }
}
