// Holds connections that our own generator cannot make: in TLS, and upgraded to
// WebSocket. `node hold.mjs tls|websocket PORT COUNT`; says `ready`, ends with its input.
import { once } from "node:events"
import { connect } from "node:net"
import { connect as connectTls } from "node:tls"

const [kind, port, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
const REQUESTS = {
  tls: "GET /r5/small HTTP/1.1\r\nHost: localhost\r\n\r\n",
  websocket: `GET /r5/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${KEY}\r\n`,
}
const open = () => {
  if (kind === "websocket") return connect(port, "127.0.0.1")
  return connectTls({ port, host: "127.0.0.1", servername: "localhost", rejectUnauthorized: false })
}
const held = []

async function one() {
  const socket = open()
  socket.on("error", (error) => {
    console.error(String(error))
    process.exit(1)
  })
  await once(socket, kind === "tls" ? "secureConnect" : "connect")
  socket.write(REQUESTS[kind])
  const [answer] = await once(socket, "data")
  if (!/^HTTP\/1\.1 (200|101) /.test(answer.toString("latin1"))) throw new Error(answer.toString("latin1"))
  socket.resume()
  held.push(socket)
}

while (held.length < count) await Promise.all(Array.from({ length: Math.min(32, count - held.length) }, one))
console.log('{"event":"ready"}')
process.stdin.resume()
await once(process.stdin, "end")
console.log(`{"held":${held.length}}`)
process.exit(0)
