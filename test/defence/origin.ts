/**
 * A lenient origin behind the proxies under test: it takes the bytes at their word and
 * says in `x-saw` which request it read, so that the client's side of the test sees
 * what arrived here.
 */
import { once } from "node:events"
import { type AddressInfo, createServer, type Socket } from "node:net"

export interface Origin {
  readonly port: number
  /** What came, byte for byte, since the last call. */
  taken(): string
  stop(): void
}

export async function startOrigin(): Promise<Origin> {
  const sockets = new Set<Socket>()
  let all = ""
  const server = createServer((socket) => {
    sockets.add(socket)
    let pending = ""
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    socket.on("data", (data) => {
      pending += data.toString("latin1")
      all += data.toString("latin1")
      for (let read = readRequest(pending); read !== null; read = readRequest(pending)) {
        pending = pending.slice(read.end)
        socket.write(`HTTP/1.1 200 OK\r\nx-saw: ${read.saw}\r\ncontent-length: 0\r\n\r\n`)
      }
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    taken: () => {
      const taken = all
      all = ""
      return taken
    },
    stop: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** The first request of the bytes, once it is whole. */
function readRequest(bytes: string): { saw: string; end: number } | null {
  const end = bytes.indexOf("\r\n\r\n")
  if (end < 0) return null
  const head = bytes.slice(0, end)
  const [method, target] = head.split(" ")
  const start = end + 4
  const saw = (length: number, size: number) => ({ saw: `${method} ${target} ${length}`, end: start + size })
  if (/\r\ntransfer-encoding:/i.test(head)) {
    let [at, length] = [start, 0]
    for (;;) {
      const line = bytes.indexOf("\r\n", at)
      if (line < 0) return null
      const size = Number.parseInt(bytes.slice(at, line), 16)
      if (!(size > 0)) break
      length += size
      at = line + 2 + size + 2
    }
    const last = bytes.indexOf("\r\n\r\n", at)
    return last < 0 ? null : saw(length, last + 4 - start)
  }
  const length = Number(/\r\ncontent-length:\s*(\d+)/i.exec(head)?.[1] ?? 0)
  return bytes.length < start + length ? null : saw(length, length)
}
