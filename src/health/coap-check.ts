/** coap: an empty confirmable message is answered by a Reset of the same id (RFC 7252 section 4.3). */
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { isIPv6 } from "node:net"
import type { Check } from "./check.ts"

const [PING, RESET] = [0x40, 0x70]

export const coapCheck: Check = ({ host, port }, { timeoutMs }) =>
  new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4")
    const id = randomBytes(2)
    const ping = Buffer.concat([Buffer.from([PING, 0]), id])
    const end = (passed: boolean): void => {
      clearTimeout(timer)
      clearTimeout(again)
      socket.removeAllListeners()
      socket.close()
      resolve(passed)
    }
    const timer = setTimeout(() => end(false), timeoutMs)
    // A datagram may be lost: it is sent once more.
    const again = setTimeout(() => socket.send(ping), timeoutMs / 2)
    socket.on("message", (data) => {
      if (data[0] === RESET && data.subarray(2, 4).equals(id)) end(true)
    })
    socket.on("error", () => end(false))
    socket.on("connect", () => socket.send(ping))
    socket.connect(port, host)
  })
