/** A NAT before the gateway's UDP port: it can change the port it sends from, lose, repeat and hold back datagrams. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"

export interface Nat {
  /** Where clients send to. */
  readonly port: number
  /** Sends from another port from now on, as after a pause that a NAT did not outlast. */
  rebind(): Promise<void>
  close(): void
}

/** What becomes of a datagram: its copies, each after so many milliseconds. */
export type Fate = (index: number) => readonly number[]

/** A tenth is lost, a tenth comes twice, a tenth late: the same ones each time. */
export function lossy(): Fate {
  let random = 7
  return () => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0
    const tenth = Math.floor((random / 2 ** 32) * 10)
    if (tenth === 0) return []
    return tenth === 1 ? [0, 5] : [tenth === 2 ? 10 : 0]
  }
}

/** Each client has a port of its own outside, as behind a real one. */
export async function createNat(target: number, fate: Fate = () => [0]): Promise<Nat> {
  const inside = createSocket("udp4").bind(0, "127.0.0.1")
  await once(inside, "listening")
  const outside = new Map<number, Socket>()
  let count = 0
  let isClosed = false
  const carry = (send: () => void): void => {
    count += 1
    const late = (): void => {
      if (!isClosed) send()
    }
    for (const delay of fate(count)) delay === 0 ? send() : setTimeout(late, delay)
  }
  const open = (client: number): Socket => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    socket.on("message", (datagram) => carry(() => inside.send(datagram, client, "127.0.0.1")))
    outside.set(client, socket)
    return socket
  }
  const closeAll = (): void => {
    for (const socket of outside.values()) socket.close()
    outside.clear()
  }
  inside.on("message", (datagram, { port }) => {
    carry(() => (outside.get(port) ?? open(port)).send(datagram, target, "127.0.0.1"))
  })
  return {
    port: (inside.address() as AddressInfo).port,
    rebind: async () => closeAll(),
    close: () => {
      isClosed = true
      inside.close()
      closeAll()
    },
  }
}
