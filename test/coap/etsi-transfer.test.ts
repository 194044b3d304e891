/** The cases TD_COAP_BLOCK and TD_COAP_OBS of ETSI's plugtests, through the gateway to aiocoap's server. */
import ava from "ava"
import { generate } from "coap-packet"
import { hasAiocoap } from "../e2e/aiocoap/python.ts"
import { block, blockOf, next, type Plugtest, plugtest, rest, send, upload } from "./etsi.ts"
import { option, peer, said, values } from "./peer.ts"

const test = ava.serial
const LARGE = Array.from({ length: 60 }, (_, line) => `line ${String(line).padStart(4, "0")} of a large resource\n`)
const OBSERVE = option("Observe", [])

if (hasAiocoap()) {
  let bench: Plugtest
  let port: number
  ava.before(async () => {
    bench = await plugtest()
    port = bench.gateway.udpPort
  })
  ava.after.always(() => bench?.stop())

  test("BLOCK_01, 02, 06: a large answer, whoever names the size of its blocks", async (t) => {
    const one = await peer(port)
    for (const size of [16, 64, 512, 1_024, 0]) {
      const options = size ? [block("Block2", 0, false, size)] : []
      const get = { code: "0.01", where: "large" }
      const first = await send(one, { ...get, options })
      t.deepEqual(blockOf(first, "Block2"), [0, true, size || 1_024])
      t.is(await rest(one, get, first), LARGE.join(""))
    }
    one.socket.close()
  })

  test("BLOCK_03, 04: a large body changes or creates", async (t) => {
    const one = await peer(port)
    const body = LARGE.slice(0, 20).join("")
    const put = await upload(one, { code: "0.03", where: "large-update", body })
    t.deepEqual([said(put), blockOf(put, "Block1")], ["2.04 ", [9, false, 64]])
    const get = { code: "0.01", where: "large-update" }
    t.is(await rest(one, get, await send(one, get)), body)
    const post = await upload(one, { code: "0.02", where: "large-create", body }, 256)
    t.deepEqual([said(post), values(post, "Location-Path").length], ["2.01 ", 3])
    one.socket.close()
  })

  test("BLOCK_05: a large body has a large answer; a FETCH has one, too", async (t) => {
    const one = await peer(port)
    const post = { code: "0.02", where: "large-post" }
    const answer = await upload(one, { ...post, body: LARGE.join("") })
    t.deepEqual(blockOf(answer, "Block1"), [28, false, 64])
    t.is(await rest(one, post, answer), LARGE.join("").toUpperCase())
    const fetch = { code: "0.05", where: "large-post", body: "which: " }
    t.is(await rest(one, fetch, await send(one, fetch)), `which: ${LARGE.join("")}`)
    for (const [code, expected] of [
      ["0.06", "2.04 PATCH"],
      ["0.07", "2.04 iPATCH"],
    ] as const)
      t.is(said(await send(one, { code, where: "large-post", body: "x" })), expected)
    one.socket.close()
  })

  // RFC7959-2.3-1
  test("a message that is too long is told its size of blocks, and a last block is no longer than that: RFC7252-5.9.2-2 RFC7959-2.9-1", async (t) => {
    const one = await peer(port)
    const put = { code: "0.03", where: "t/long" }
    const refused = await send(one, { ...put, body: "x".repeat(1_400) })
    t.deepEqual([refused?.code, blockOf(refused, "Block1")], ["4.13", [0, false, 1_024]])
    t.is(values(refused, "Size1").length, 1)
    const longer = await send(one, { ...put, options: [block("Block1", 0, false, 16)], body: "x".repeat(17) })
    t.is(longer?.code, "4.00")
    t.is(said(await upload(one, { ...put, body: "x".repeat(1_400) }, 1_024)), "2.04 ")
    one.socket.close()
  })

  test("OBS_01, 06, 09, 12: states come in order, until the client does not want them", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const put = (body: string) => send(other, { code: "0.03", where: "obs", body })
    for (const ends of ["deregistering", "a reset"]) {
      t.is((await put("first"))?.code, "2.04")
      const first = await send(one, { code: "0.01", where: "obs", options: [OBSERVE] })
      t.deepEqual([said(first), values(first, "Observe").length], ["2.05 first", 1])
      const numbers = values(first, "Observe").map((value) => Number.parseInt(value, 16))
      for (const body of ["second", "third"]) {
        await put(body)
        const told = await next(one)
        t.deepEqual([said(told), String(told?.token)], [`2.05 ${body}`, "tk"])
        numbers.push(Number.parseInt(values(told, "Observe")[0] ?? "", 16))
      }
      t.deepEqual(
        numbers,
        [...new Set(numbers)].sort((a, b) => a - b),
      )
      if (ends === "a reset") {
        await put("fourth")
        const told = await one.receive()
        one.socket.send(generate({ reset: true, code: "0.00", messageId: told?.messageId }), port, "127.0.0.1")
      } else {
        const last = await send(one, { code: "0.01", where: "obs", options: [option("Observe", [1])] })
        t.deepEqual(values(last, "Observe"), [])
      }
      // Answered behind what ended it.
      await send(one, { code: "0.01", where: "test" })
      await put("unheard")
      t.is(await next(one, 500), null, ends)
    }
    for (const { socket } of [one, other]) socket.close()
  })

  test("OBS_02: a state at most once is told at most once", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const put = (body: string) => send(other, { code: "0.03", where: "t/non", body, confirmable: false })
    await put("first")
    const first = await send(one, { code: "0.01", where: "t/non", options: [OBSERVE], confirmable: false })
    t.deepEqual([said(first), first?.ack, first?.confirmable], ["2.05 first", false, false])
    for (const body of ["second", "third"]) {
      await put(body)
      const told = await next(one)
      t.deepEqual([said(told), told?.confirmable, String(told?.token)], [`2.05 ${body}`, false, "tk"])
    }
    for (const { socket } of [one, other]) socket.close()
  })

  test("OBS_10: a GET that says nothing of observing ends no observation", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const get = { code: "0.01", where: "obs" }
    await send(other, { code: "0.03", where: "obs", body: "before" })
    await send(one, { ...get, options: [OBSERVE] })
    t.is(said(await send(one, get, "other")), "2.05 before")
    await send(other, { code: "0.03", where: "obs", body: "after" })
    const told = await next(one)
    t.deepEqual([said(told), String(told?.token)], ["2.05 after", "tk"])
    await send(one, { ...get, options: [option("Observe", [1])] })
    for (const { socket } of [one, other]) socket.close()
  })

  test("OBS_07, 08: a deletion and another format end it with their code: RFC7641-4.2-5", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    for (const [code, options, expected] of [
      ["0.04", [], "4.04"],
      ["0.03", [option("Content-Format", [50])], "4.06"],
    ] as const) {
      await send(other, { code: "0.03", where: "obs", body: "there" })
      await send(one, { code: "0.01", where: "obs", options: [OBSERVE] })
      await send(other, { code, where: "obs", options: [...options], body: code === "0.03" ? "{}" : "" })
      const told = await next(one)
      t.deepEqual([told?.code, values(told, "Observe")], [expected, []])
      await send(other, { code: "0.03", where: "obs", body: "again" })
      t.is(await next(one, 300), null)
    }
    for (const { socket } of [one, other]) socket.close()
  })

  test("OBS_13, 14: a large state is told by its first block, and fetched", async (t) => {
    const [one, other] = [await peer(port), await peer(port)]
    const options = [OBSERVE, block("Block2", 0, false, 128)]
    await send(one, { code: "0.01", where: "obs", options })
    await upload(other, { code: "0.03", where: "obs", body: LARGE.join("") })
    const told = await next(one)
    t.deepEqual([values(told, "Observe").length, blockOf(told, "Block2")], [1, [0, true, 128]])
    t.is(await rest(one, { code: "0.01", where: "obs" }, told), LARGE.join(""))
    await send(one, { code: "0.01", where: "obs", options: [option("Observe", [1])] })
    for (const { socket } of [one, other]) socket.close()
  })
}
