/** A peer of CoAP by plain datagrams, each of whose packets a test makes and sees. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { generate, type ParsedPacket, parse } from "coap-packet"

export type Option = { name: string; value: Buffer }

export const option = (name: string | number, value: string | number[]): Option =>
  ({ name: String(name), value: Buffer.from(value as string) }) as Option

/** The values of an option in hexadecimal digits. */
export const values = (packet: ParsedPacket | null | undefined, name: string | number): string[] =>
  (packet?.options ?? []).filter((own) => String(own.name) === String(name)).map(({ value }) => value.toString("hex"))

export const path = (where: string): Option[] => where.split("/").map((part) => option("Uri-Path", part))

export const said = (answer: ParsedPacket | null): string => `${answer?.code} ${answer?.payload}`

export interface Peer {
  readonly socket: Socket
  /** Whom it talks to. */
  readonly port: number
  readonly to: string
  /** Sends a request; its answer, or null where none comes in time. */
  ask(packet: object, timeoutMs?: number): Promise<ParsedPacket | null>
  receive(timeoutMs?: number): Promise<ParsedPacket | null>
}

/** Longer than any that a gateway takes. */
const PACKET_MAX = 4_096

let messageId = 100

/** A peer at an address of its own. */
export async function peer(port: number, to = "127.0.0.1"): Promise<Peer> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  const come: ParsedPacket[] = []
  socket.on("message", (data) => come.push(parse(data)))
  const receive = async (timeoutMs = 5_000): Promise<ParsedPacket | null> => {
    for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(5)) {
      const next = come.shift()
      // An acknowledgement without a response says only that it takes time.
      if (next && !(next.ack && next.code === "0.00")) return next
    }
    return null
  }
  const ask = (packet: object, timeoutMs?: number): Promise<ParsedPacket | null> => {
    messageId += 1
    socket.send(generate({ confirmable: true, messageId, token: Buffer.from("tk"), ...packet }, PACKET_MAX), port, to)
    return receive(timeoutMs)
  }
  return { socket, port, to, ask, receive }
}

/** The answer to one packet of a peer that nobody knows. */
export async function askOnce(port: number, packet: object, timeoutMs?: number): Promise<ParsedPacket | null> {
  const one = await peer(port)
  const answer = await one.ask(packet, timeoutMs)
  one.socket.close()
  return answer
}
