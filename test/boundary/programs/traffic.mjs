// Clients without an end: HTTP requests over kept connections, and MQTT clients that
// receive what they publish and publish again. Nothing of it minds a broken connection.
import { connect } from "node:net"

const REQUEST = "GET /handled HTTP/1.1\r\nhost: a\r\n\r\n"
const CONNECT = Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0])
const SUBSCRIBE = Buffer.from([0x82, 6, 0, 1, 0, 1, 0x61, 1])
const PUBLISH = Buffer.from([0x32, 6, 0, 1, 0x61, 0, 9, 0x78])

/** Keeps the gateway at `port` busy; resolves once answers came to both protocols. */
export async function keepBusy(port) {
  const http = endless(port, REQUEST, REQUEST)
  const mqtt = endless(port, Buffer.concat([CONNECT, SUBSCRIBE, PUBLISH]), PUBLISH)
  await Promise.all([http, mqtt])
}

/** Resolves with the tenth answer and goes on. */
function endless(port, opening, again) {
  return new Promise((resolve) => {
    let answers = 0
    const socket = connect(port, "127.0.0.1", () => socket.write(opening))
    socket.on("error", () => {})
    socket.on("data", () => {
      if (++answers === 10) resolve()
      socket.write(again)
    })
  })
}
