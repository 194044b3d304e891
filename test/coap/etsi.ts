/** What the plugtest cases share: aiocoap's server of their resources behind a gateway, and peers of raw packets. */
import { generate, type ParsedPacket } from "coap-packet"
import { python } from "../e2e/aiocoap/python.ts"
import { createNat, type Fate } from "../e2e/nat.ts"
import { type Running, runGateway } from "../e2e/run-gateway.ts"
import { type Option, option, type Peer, path, peer } from "./peer.ts"

const PATHS = ["/seg1/**", ..."test validate create1 separate query location-query multi-format aged".split(" ")]
const LARGE = "large large-update large-create large-post obs".split(" ")

export interface Plugtest {
  readonly gateway: Running
  stop(): Promise<void>
}

/** `coap`: of the gateway. `fate`: what becomes of the datagrams between it and the server. */
export async function plugtest(coap: object = {}, fate?: Fate): Promise<Plugtest> {
  const server = python("plugtest.py", [])
  if (!(await server.tell("", /port \d+/))) throw new Error(server.out())
  const port = Number(/port (\d+)/.exec(server.out())?.[1])
  const link = fate && (await createNat(port, fate))
  const routes = [...PATHS, ...LARGE].map((name) => ({
    when: { path: name.startsWith("/") ? name : `/${name}` },
    to: "plugtest",
  }))
  const upstreams = { plugtest: { protocol: "coap", endpoints: [`127.0.0.1:${link?.port ?? port}`] } }
  const gateway = await runGateway({ coap, upstreams, routes })
  const stop = async (): Promise<void> => {
    await gateway.stop()
    link?.close()
    server.child.stdin?.end()
    server.child.kill()
  }
  return { gateway, stop }
}

/** A block's number, whether more follow, and its size. */
export const block = (name: "Block1" | "Block2", num: number, more: boolean, size: number): Option => {
  const bits = num * 16 + (more ? 8 : 0) + Math.log2(size) - 4
  return option(name, bits < 256 ? [bits] : [bits >> 8, bits & 255])
}

export const blockOf = (packet: ParsedPacket | null, name: "Block1" | "Block2"): [number, boolean, number] | null => {
  const value = packet?.options.find((own) => own.name === name)?.value
  if (!(value instanceof Buffer)) return null
  const bits = value.reduce((sum, byte) => sum * 256 + byte, 0)
  return [bits >> 4, (bits & 8) !== 0, 16 << (bits & 7)]
}

export type Asking = { code: string; where: string; options?: Option[]; body?: string | Buffer; confirmable?: boolean }

/** Asks by one message; a confirmable response is acknowledged. */
export async function send(one: Peer, asking: Asking, token = "tk"): Promise<ParsedPacket | null> {
  const { code, where, options = [], body = "", confirmable = true } = asking
  const asked = { code, confirmable, token: Buffer.from(token), payload: Buffer.from(body) }
  const answer = await one.ask({ ...asked, options: [...path(where), ...options] })
  return acknowledged(one, answer)
}

/** The next message of the gateway's own, acknowledged. */
export const next = async (one: Peer, timeoutMs?: number): Promise<ParsedPacket | null> =>
  acknowledged(one, await one.receive(timeoutMs))

function acknowledged(one: Peer, packet: ParsedPacket | null): ParsedPacket | null {
  if (packet?.confirmable)
    one.socket.send(generate({ ack: true, code: "0.00", messageId: packet.messageId }), one.port, one.to)
  return packet
}

/** Sends a body in blocks; the answer to the last one. */
export async function upload(one: Peer, asking: Asking & { body: string }, size = 64): Promise<ParsedPacket | null> {
  const { body, options = [] } = asking
  for (let num = 0; ; num += 1) {
    const more = (num + 1) * size < body.length
    const part = body.slice(num * size, (num + 1) * size)
    const answer = await send(one, { ...asking, body: part, options: [...options, block("Block1", num, more, size)] })
    if (!more || answer?.code !== "2.31") return answer
  }
}

/** Fetches what follows a first answer in blocks of the size that it has. */
export async function rest(one: Peer, asking: Asking, first: ParsedPacket | null): Promise<string> {
  let body = String(first?.payload)
  let told = blockOf(first, "Block2")
  for (let num = 1; told?.[1]; num += 1) {
    const options = [...(asking.options ?? []), block("Block2", num, false, told[2])]
    const answer = await send(one, { ...asking, options })
    if (answer?.code.startsWith("2.") !== true) return `${answer?.code} ${answer?.payload}`
    told = blockOf(answer, "Block2")
    body += String(answer.payload)
  }
  return body
}

export { peer }
