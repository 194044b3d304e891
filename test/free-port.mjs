import { createSocket } from "node:dgram"
import { once } from "node:events"
import { createServer } from "node:net"

/**
 * A free port of 127.0.0.1, below those that the system gives to connections: it stays whose it is
 * while nobody listens.
 */
export async function freePort(transport = "tcp") {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = transport === "tcp" ? createServer() : createSocket("udp4")
    if (transport === "tcp") server.listen(port, "127.0.0.1")
    else server.bind(port, "127.0.0.1")
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    server.close()
    await once(server, "close")
    return port
  }
}
