// Servers of CoAP over UDP that hold a value that was put to /t/bench.
import { createSocket } from "node:dgram"
import { CORE, find, freePort, output, start } from "../lib/process.mjs"

/** Waits until a ping is answered by a Reset. */
export async function answering(port, child) {
  const socket = createSocket("udp4")
  let answered = false
  socket.on("message", () => {
    answered = true
  })
  socket.on("error", () => {})
  for (const until = Date.now() + 10_000; Date.now() < until && !answered; ) {
    if (child.exitCode !== null) break
    socket.send(Buffer.from([0x40, 0, 1, 1]), port, "127.0.0.1")
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  socket.close()
  if (!answered) throw new Error(`nothing answers on port ${port}; ${child.complaint()}`)
}

export const libcoap = {
  name: "libcoap",
  missing: () => (find("coap-server-notls") === undefined ? "apt-get install libcoap3-bin" : undefined),
  version: () => /v?(\d+\.\d+\.\d+)/.exec(output("sh", ["-c", "coap-server-notls -h 2>&1 || true"]))?.[1] ?? "?",
  start: async () => {
    const port = await freePort()
    const child = start(CORE.gateway, "coap-server-notls", ["-A", "127.0.0.1", "-p", String(port), "-d", "10"])
    await answering(port, child)
    return { port, child, pid: child.pid }
  },
}
