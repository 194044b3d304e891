// The demo upstream: two HTTP servers with /healthz, /api/hello and a WebSocket echo.
// Started by bin/start.mjs with a channel it gets the ports on; alone it takes 9000 and 9001.
import { createHash } from "node:crypto"
import { createServer } from "node:http"

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

function createUpstream(name) {
  const server = createServer((request, response) => {
    if (request.url === "/healthz") return response.end("ok\n")
    if (!request.url.startsWith("/api/")) return response.writeHead(404).end("not found\n")
    response.setHeader("content-type", "application/json")
    response.end(`${JSON.stringify({ hello: "world", from: name, path: request.url })}\n`)
  })
  server.on("upgrade", (request, socket, head) => {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64")
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`)
    let buffered = head
    const take = (bytes) => {
      buffered = echo(Buffer.concat([buffered, bytes]), socket)
    }
    take(Buffer.alloc(0))
    socket.on("data", take)
    socket.on("error", () => socket.destroy())
  })
  return server
}

/** Sends every whole frame back unmasked and returns what is left. Frames up to 64 KiB. */
function echo(bytes, socket) {
  let rest = bytes
  while (rest.length >= 6) {
    const short = rest[1] & 0x7f
    if (short === 127) return socket.destroy() ?? Buffer.alloc(0)
    const at = short === 126 ? 4 : 2
    const length = short === 126 ? rest.readUInt16BE(2) : short
    if (rest.length < at + 4 + length) return rest
    const mask = rest.subarray(at, at + 4)
    const payload = rest.subarray(at + 4, at + 4 + length).map((byte, index) => byte ^ mask[index & 3])
    // A ping (9) is answered with a pong (10); everything else comes back as it is.
    const opcode = (rest[0] & 0x0f) === 9 ? (rest[0] & 0xf0) | 10 : rest[0]
    socket.write(Buffer.concat([Buffer.from([opcode, short]), rest.subarray(2, at), payload]))
    rest = rest.subarray(at + 4 + length)
    if ((opcode & 0x0f) === 8) socket.end()
  }
  return rest
}

const wanted = process.send === undefined ? [9000, 9001] : [0, 0]
const servers = wanted.map((port, index) => createUpstream(`demo-${index + 1}`).listen(port, "127.0.0.1"))
await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))))
const ports = servers.map((server) => server.address().port)
if (process.send === undefined) process.stdout.write(`demo upstream on ${ports.join(" and ")}\n`)
else process.send(ports)
process.on("disconnect", () => process.exit(0))
// Ctrl-C reaches the whole group; the gateway drains first and then lets this end.
process.on("SIGINT", () => undefined)
