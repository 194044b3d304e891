// An origin at many loopback addresses, 127.1.0.0 and on. Arguments: the port, the first address and how many.
// It answers 100 bytes to every head and reads no bodies.
import { createServer } from "node:net"

const [port, first, count] = process.argv.slice(2).map(Number)
const body = "x".repeat(100)
const answer = `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const sockets = (socket) => {
  socket.setNoDelay(true)
  socket.on("error", () => {})
  let rest = ""
  socket.on("data", (bytes) => {
    const heads = (rest + bytes.toString("latin1")).split("\r\n\r\n")
    rest = heads.pop()
    if (heads.length > 0) socket.write(answer.repeat(heads.length))
  })
}

const listen = (index) =>
  new Promise((resolve) => createServer(sockets).listen(port, `127.1.${index >> 8}.${index & 255}`, resolve))
for (let index = first; index < first + count; index++) await listen(index)
// Who waits for this process asks here.
createServer(sockets).listen(Number(process.argv[5]), "127.0.0.1")
