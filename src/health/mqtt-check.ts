/**
 * mqtt: a broker answers CONNECT (MQTT 3.1.1, a clean session) and PINGREQ. One that
 * asks for credentials is well too: it answered.
 */
import { randomBytes } from "node:crypto"
import { connect } from "node:net"
import type { Check } from "./check.ts"

const CONNACK = 0x20
const PINGRESP = 0xd0
const [PINGREQ, DISCONNECT] = [Buffer.from([0xc0, 0]), Buffer.from([0xe0, 0])]
/** CONNACK codes 4 and 5: bad credentials, not authorized. */
const ASKS_WHO = new Set([4, 5])

export const mqttCheck: Check = ({ host, port }, { timeoutMs }) =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    let seen = Buffer.alloc(0)
    const end = (passed: boolean): void => {
      clearTimeout(timer)
      if (passed) socket.end(DISCONNECT)
      else socket.destroy()
      resolve(passed)
    }
    const timer = setTimeout(() => end(false), timeoutMs)
    socket.on("connect", () => socket.write(connectPacket()))
    socket.on("data", (data) => {
      seen = Buffer.concat([seen, data])
      if (seen.length < 4) return
      if (seen[0] !== CONNACK || seen[1] !== 2) return end(false)
      const code = seen[3] ?? 0
      if (code !== 0) return end(ASKS_WHO.has(code))
      if (seen.length === 4) return socket.write(PINGREQ)
      if (seen.length >= 6) end(seen[4] === PINGRESP)
      return undefined
    })
    socket.on("error", () => end(false))
    socket.on("close", () => end(false))
  })

function connectPacket(): Buffer {
  const id = `tidegate-health-${randomBytes(3).toString("hex")}`
  const [protocolLevel, cleanSession, keepAlive] = [4, 2, [0, 10]]
  const body = [
    0,
    4,
    ...Buffer.from("MQTT"),
    protocolLevel,
    cleanSession,
    ...keepAlive,
    0,
    id.length,
    ...Buffer.from(id),
  ]
  return Buffer.from([0x10, body.length, ...body])
}
