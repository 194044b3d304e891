/** tcp: a connection opens in time. One that expects the PROXY protocol is told that it is our own. */
import { connect } from "node:net"
import type { Check } from "./check.ts"
import { proxyHeader } from "./wire.ts"

export const tcpCheck: Check = ({ host, port }, health) =>
  new Promise((resolve) => {
    const header = proxyHeader(health)
    const socket = connect({ host, port })
    const end = (passed: boolean) => () => {
      socket.destroy()
      resolve(passed)
    }
    socket.setTimeout(health.timeoutMs, end(false))
    socket.once("connect", () => (header === null ? end(true)() : socket.write(header, end(true))))
    socket.once("error", end(false))
  })
