/** tcp: a connection opens in time. */
import { connect } from "node:net"
import type { Check } from "./check.ts"

export const tcpCheck: Check = ({ host, port }, { timeoutMs }) =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (passed: boolean) => () => {
      socket.destroy()
      resolve(passed)
    }
    socket.setTimeout(timeoutMs, end(false))
    socket.once("connect", end(true))
    socket.once("error", end(false))
  })
