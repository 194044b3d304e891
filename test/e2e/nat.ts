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

/** For one client. */
export async function createNat(target: number, fate: Fate = () => [0]): Promise<Nat> {
  const inside = createSocket("udp4").bind(0, "127.0.0.1")
  await once(inside, "listening")
  let client = 0
  let count = 0
  let isClosed = false
  const carry = (send: () => void): void => {
    count += 1
    const late = (): void => {
      if (!isClosed) send()
    }
    for (const delay of fate(count)) delay === 0 ? send() : setTimeout(late, delay)
  }
  const open = async (): Promise<Socket> => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    await once(socket, "listening")
    socket.on("message", (datagram) => {
      // What is late is for who was there when it came.
      const to = client
      carry(() => inside.send(datagram, to, "127.0.0.1"))
    })
    return socket
  }
  let outside = await open()
  inside.on("message", (datagram, { port }) => {
    client = port
    carry(() => outside.send(datagram, target, "127.0.0.1"))
  })
  return {
    port: (inside.address() as AddressInfo).port,
    rebind: async () => {
      const before = outside
      outside = await open()
      before.close()
    },
    close: () => {
      isClosed = true
      inside.close()
      outside.close()
    },
  }
}
