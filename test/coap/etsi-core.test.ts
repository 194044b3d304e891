/** The cases TD_COAP_CORE and TD_COAP_LINK of ETSI's plugtests, through the gateway to aiocoap's server. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { generate } from "coap-packet"
import { hasAiocoap } from "../e2e/aiocoap/python.ts"
import { type Plugtest, plugtest, send } from "./etsi.ts"
import { type Option, option, path, peer, said, values } from "./peer.ts"

const test = ava.serial

if (hasAiocoap()) {
  let bench: Plugtest
  let port: number
  ava.before(async () => {
    bench = await plugtest()
    port = bench.gateway.udpPort
  })
  ava.after.always(() => bench?.stop())

  for (const confirmable of [true, false]) {
    const cases = confirmable ? "01 to 04" : "05 to 08"
    test(`CORE_${cases}: GET, POST, PUT, DELETE, confirmable ${confirmable}`, async (t) => {
      const one = await peer(port)
      for (const [code, body, expected] of [
        ["0.01", "", "2.05 hello"],
        ["0.02", "x", "2.01 "],
        ["0.03", "hello", "2.04 "],
        ["0.04", "", "2.02 "],
      ] as const) {
        const answer = await send(one, { code, where: "test", body, confirmable })
        t.is(said(answer), expected)
        t.deepEqual([answer?.ack, answer?.confirmable, String(answer?.token)], [confirmable, false, "tk"])
      }
      one.socket.close()
    })
  }

  test("CORE_09, 11, 17: a separate response has the token, and the kind of its request", async (t) => {
    const one = await peer(port)
    for (const confirmable of [true, false]) {
      const answer = await send(one, { code: "0.01", where: "separate", confirmable }, "separat")
      t.deepEqual([answer?.ack, answer?.confirmable, String(answer?.token)], [false, confirmable, "separat"])
      t.is(said(answer), "2.05 later")
    }
    one.socket.close()
  })

  test("CORE_10, 12: a token of eight bytes and none", async (t) => {
    const one = await peer(port)
    for (const token of ["8 bytes.", ""])
      t.is(String((await send(one, { code: "0.01", where: "test" }, token))?.token), token)
    one.socket.close()
  })

  test("CORE_13, 14: several path and query options", async (t) => {
    const one = await peer(port)
    t.is(said(await send(one, { code: "0.01", where: "seg1/seg2/seg3" })), "2.05 segments")
    const options = ["first=1", "second=2", "third=3"].map((part) => option("Uri-Query", part))
    t.is(said(await send(one, { code: "0.01", where: "query", options })), "2.05 first=1&second=2&third=3")
    one.socket.close()
  })

  test("CORE_18, 19, 24, 25: what is created is named by its path or query", async (t) => {
    const one = await peer(port)
    const text = (hex: string): string => String(Buffer.from(hex, "hex"))
    const created = await send(one, { code: "0.02", where: "test", body: "x" })
    t.deepEqual(values(created, "Location-Path").map(text), ["location1", "location2", "location3"])
    const queried = await send(one, { code: "0.02", where: "location-query", body: "x" })
    t.deepEqual(values(queried, "Location-Query").map(text), ["first=1", "second=2"])
    one.socket.close()
  })

  test("CORE_20, 26: Accept chooses the format", async (t) => {
    const one = await peer(port)
    for (const [accept, expected] of [
      [0, "2.05 text"],
      [41, "2.05 <xml/>"],
      [50, "4.06 "],
    ] as const)
      t.is(
        said(
          await send(one, {
            code: "0.01",
            where: "multi-format",
            options: [option("Accept", accept ? [accept] : [])],
          }),
        ),
        expected,
      )
    one.socket.close()
  })

  // RFC7252-5.10.6-1
  test("CORE_21, 22, 27, 28: ETag validates, and If-Match takes the tag that the server has given", async (t) => {
    const one = await peer(port)
    const tagOf = (answer: Parameters<typeof values>[0]): Option =>
      option("ETag", [...Buffer.from(values(answer, "ETag")[0] ?? "", "hex")])
    const first = await send(one, { code: "0.01", where: "validate" })
    const tag = tagOf(first)
    t.is(tag.value.length, 6, "the server's own")
    const valid = await send(one, { code: "0.01", where: "validate", options: [tag] })
    t.deepEqual([said(valid), values(valid, "ETag")], ["2.03 ", values(first, "ETag")])
    const put = (options: Option[], body: string) => send(one, { code: "0.03", where: "validate", options, body })
    const match = { name: "If-Match", value: tag.value }
    t.is(said(await put([option("If-Match", "other")], "two")), "4.12 ")
    const changed = await put([option("If-Match", "other"), match], "two")
    t.is(said(changed), "2.04 ")
    t.is(said(await put([match], "three")), "4.12 ", "the tag is an old one")
    const now = await send(one, { code: "0.01", where: "validate", options: [tag] })
    t.deepEqual([said(now), values(now, "ETag")], ["2.05 two", values(changed, "ETag")])
    t.is(said(await put([option("If-Match", [])], "four")), "2.04 ", "whatever there is")
    one.socket.close()
  })

  test("CORE_23, 30: If-None-Match creates once", async (t) => {
    const one = await peer(port)
    const put = () => send(one, { code: "0.03", where: "create1", options: [option("If-None-Match", [])], body: "x" })
    t.deepEqual([said(await put()), said(await put())], ["2.01 ", "4.12 "])
    one.socket.close()
  })

  test("CORE_29: an answer is used for as long as it says, and then asked for again: RFC7252-5.6-1", async (t) => {
    const one = await peer(port)
    const get = async (): Promise<[string, string | undefined]> => {
      const answer = await send(one, { code: "0.01", where: "aged" })
      return [said(answer), values(answer, "Max-Age")[0]]
    }
    t.deepEqual(await get(), ["2.05 1", "02"])
    const [again, left] = await get()
    t.is(again, "2.05 1", "of the same worker, which has it")
    t.true(Number.parseInt(left || "0", 16) <= 2)
    let [now] = await get()
    for (const end = Date.now() + 10_000; now === "2.05 1" && Date.now() < end; [now] = await get()) await sleep(100)
    t.is(now, "2.05 2")
    one.socket.close()
  })

  test("CORE_31: a ping is answered by a reset", async (t) => {
    const one = await peer(port)
    one.socket.send(generate({ confirmable: true, code: "0.00", messageId: 4_711 }), port, "127.0.0.1")
    const pong = await one.receive()
    t.deepEqual([pong?.reset, pong?.code, pong?.messageId], [true, "0.00", 4_711])
    one.socket.close()
  })

  test("LINK_01 to 09: links, by type, by address, by format, and in no other one: RFC7252-5.10.4-1", async (t) => {
    const one = await peer(port)
    const links = async (...queries: string[]): Promise<string> => {
      const options = queries.map((query) => option("Uri-Query", query))
      const answer = await send(one, { code: "0.01", where: ".well-known/core", options })
      t.deepEqual([answer?.code, values(answer, "Content-Format")], ["2.05", ["28"]])
      return String(answer?.payload)
    }
    t.regex(await links(), /<\/t>.*<\/rd>.*<\/test>/)
    t.regex(await links("rt=core.rd"), /^<\/rd>;rt="core\.rd"[^,]*$/)
    t.regex(await links("rt=core.rd*"), /^<\/rd>.*<\/rd-lookup\/ep>.*<\/rd-lookup\/res>[^,]*$/)
    t.is(await links("href=/test"), "</test>")
    t.regex(await links("href=/large*"), /^<\/large>,<\/large-create>,<\/large-post>,<\/large-update>$/)
    t.is((await links("ct=40")).split(",").length, 3)
    t.is(await links("if=none"), "")
    const get = { code: "0.01", where: ".well-known/core" }
    t.is((await send(one, { ...get, options: [option("Accept", [40])] }))?.code, "2.05")
    t.is((await send(one, { ...get, options: [option("Accept", [50])] }))?.code, "4.06")
    t.is((await one.ask({ code: "0.02", options: path(".well-known/core") }))?.code, "4.05")
    one.socket.close()
  })
}
