/** The cases of ETSI's plugtests that lose datagrams, between a client and the gateway and between it and aiocoap's server. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { generate, type ParsedPacket } from "coap-packet"
import { hasAiocoap } from "../e2e/aiocoap/python.ts"
import { next, type Plugtest, plugtest, send } from "./etsi.ts"
import { option, path, peer, said } from "./peer.ts"

const test = ava.serial
const OBSERVE = option("Observe", [])
const ACK_TIMEOUT_MS = 200
const MAX_RETRANSMIT = 2

if (hasAiocoap()) {
  let bench: Plugtest
  let port: number
  /** Datagrams between the gateway and the server since it was set to 0, and which of them is lost. */
  const link = { count: 0, loses: 0 }
  ava.before(async () => {
    const coap = { ackTimeoutMs: ACK_TIMEOUT_MS, maxRetransmit: MAX_RETRANSMIT, maxAsleepS: 0, cacheEntries: 0 }
    bench = await plugtest(coap, () => {
      link.count += 1
      return link.count === link.loses ? [] : [0]
    })
    port = bench.gateway.udpPort
  })
  ava.after.always(() => bench?.stop())

  /** Each datagram of an exchange is lost once; `passed` of them go by in the end. */
  const losing = async (where: string, passed: readonly number[], check: (answer: ParsedPacket | null) => void) => {
    for (const [index, count] of passed.entries()) {
      Object.assign(link, { count: 0, loses: index + 1 })
      const one = await peer(port)
      check(await send(one, { code: "0.01", where }))
      for (const end = Date.now() + 10_000; link.count < count && Date.now() < end; ) await sleep(10)
      one.socket.close()
    }
    link.loses = 0
  }

  test("CORE_15: a request or its acknowledgement that is lost is sent again", async (t) => {
    await losing("test", [3, 4], (answer) => t.is(answer?.code, "2.05"))
    const one = await peer(port)
    const again = generate({
      confirmable: true,
      code: "0.01",
      messageId: 7,
      token: Buffer.from("tk"),
      options: path("test"),
    })
    one.socket.send(again, port, "127.0.0.1")
    const first = await one.receive()
    const asked = link.count
    one.socket.send(again, port, "127.0.0.1")
    t.deepEqual(await one.receive(), first, "the acknowledgement that the client has lost")
    t.is(link.count, asked, "nobody was asked for it")
    one.socket.close()
  })

  test("CORE_16: so is each message of a delayed response", async (t) => {
    await losing("separate", [5, 6, 5, 6], (answer) => t.is(said(answer), "2.05 later"))
    const one = await peer(port)
    one.socket.send(
      generate({ confirmable: true, code: "0.01", messageId: 8, token: Buffer.from("tk"), options: path("separate") }),
      port,
      "127.0.0.1",
    )
    const [first, again] = [await one.receive(), await one.receive()]
    t.deepEqual([first?.confirmable, said(first)], [true, "2.05 later"])
    t.deepEqual(again, first, "its acknowledgement was lost")
    one.socket.send(generate({ ack: true, code: "0.00", messageId: first?.messageId ?? 0 }), port, "127.0.0.1")
    one.socket.close()
  })

  test("OBS_05: an observer that is off is told as often as a message is sent again, and no more: RFC7641-4.5-1", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const put = (body: string) => send(other, { code: "0.03", where: "t/off", body })
    await put("first")
    await send(one, { code: "0.01", where: "t/off", options: [OBSERVE] })
    await put("second")
    const told = await one.receive()
    for (let times = 0; times < MAX_RETRANSMIT; times += 1) t.deepEqual(await one.receive(), told)
    // The last wait is over within one and a half times it.
    const wait = ACK_TIMEOUT_MS * 1.5 * 2 ** MAX_RETRANSMIT
    t.is(await one.receive(2 * wait), null)
    await put("third")
    t.is(await one.receive(wait), null)
    for (const { socket } of [one, other]) socket.close()
  })

  test("OBS_11: a notification or its acknowledgement that is lost is sent again, and the newest state comes", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const put = (body: string) => send(other, { code: "0.03", where: "t/lossy", body })
    await put("first")
    await send(one, { code: "0.01", where: "t/lossy", options: [OBSERVE] })
    await put("second")
    const lost = await one.receive()
    await put("third")
    t.deepEqual(await next(one), lost, "until it is acknowledged")
    const told = await next(one)
    t.is(said(told), "2.05 third")
    t.is(await one.receive(2 * ACK_TIMEOUT_MS), null)
    for (const { socket } of [one, other]) socket.close()
  })
}
