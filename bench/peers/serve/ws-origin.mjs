// An origin that takes every WebSocket and says nothing in it.
import { createServer } from "node:http"

const server = createServer((_, response) => response.end("ok"))
server.on("upgrade", (_, socket) => {
  socket.on("error", () => {})
  // A server of node:http leaves its half open: without this every round keeps its descriptors.
  socket.on("end", () => socket.end())
  socket.resume()
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
  )
})
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4_096 })
