/** Statements of CoAP's specifications about servers, by number, against raw packets. docs/coap-conformance.md is made of these titles. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { exchange, type Running, run, runGateway } from "../e2e/run-gateway.ts"
import { askOnce, type Option, option, type Peer, path, peer, said, values } from "./peer.ts"

const test = ava.serial
let gateway: Running

ava.before(async () => {
  gateway = await runGateway()
})
ava.after.always(() => gateway?.stop())

const ask = (packet: object, timeoutMs?: number) => askOnce(gateway.udpPort, packet, timeoutMs)

test("a topic's value has the format that is accepted, observed or not: RFC7252-5.10.4-1 RFC7641-4.2-3", async (t) => {
  const json = option("Content-Format", [50])
  const put = (format: Option) =>
    ask({ code: "0.03", options: [...path("t/format"), format], payload: Buffer.from("1") })
  t.is((await put(json))?.code, "2.04")
  const observe = option("Observe", [])
  const [accept, other] = [option("Accept", [50]), option("Accept", [60])]
  for (const also of [[], [observe]]) {
    t.is((await ask({ code: "0.01", options: [...also, ...path("t/format"), other] }))?.code, "4.06")
    t.is((await ask({ code: "0.01", options: [...also, ...path("t/format"), accept] }))?.code, "2.05")
  }
  const observer = await peer(gateway.udpPort)
  t.deepEqual(values(await observer.ask({ code: "0.01", options: [observe, ...path("t/format")] }), "Content-Format"), [
    "32",
  ])
  await put(option("Content-Format", [60]))
  const last = await observer.receive()
  t.deepEqual([last?.code, values(last, "Observe")], ["4.06", []])
  observer.socket.close()
})

test("If-None-Match of the first block holds for the body: RFC7959-2.10-1 RFC7252-5.10.8-1 RFC7252-5.10.8-2", async (t) => {
  const upload = async (one: Peer) => {
    const first = [...path("t/once"), option("Block1", [0x08]), option("If-None-Match", [])]
    t.is((await one.ask({ code: "0.03", options: first, payload: Buffer.alloc(16, "a") }))?.code, "2.31")
    return one.ask({ code: "0.03", options: [...path("t/once"), option("Block1", [0x10])], payload: Buffer.from("b") })
  }
  const one = await peer(gateway.udpPort)
  t.is((await upload(one))?.code, "2.04")
  t.is((await upload(one))?.code, "4.12")
  t.is(String((await one.ask({ code: "0.01", options: path("t/once") }))?.payload), `${"a".repeat(16)}b`)
  one.socket.close()
})

test("what is sent to a group is not answered: RFC7252-8-1 RFC7252-8.1-2", async (t) => {
  const anywhere = await runGateway({
    listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "udp://0.0.0.0:0", protocols: ["coap"], anonymous: true }],
  })
  const port = Number(/udp:\/\/0\.0\.0\.0:(\d+)/.exec(anywhere.output())?.[1])
  const member = createSocket({ type: "udp4", reuseAddr: true }).bind(0, "0.0.0.0")
  await once(member, "listening")
  member.addMembership("239.255.77.1", "127.0.0.1")
  const get = { code: "0.01", options: path(".well-known/core"), confirmable: false }
  const direct = await peer(port)
  t.is((await direct.ask(get))?.code, "2.05")
  const group = await peer(port, "239.255.77.1")
  group.socket.setMulticastInterface("127.0.0.1")
  t.is(await group.ask(get, 500), null)
  for (const socket of [member, direct.socket, group.socket]) socket.close()
  await anywhere.stop()
})

test("Q-Block1 and Q-Block2 are options that are not known, and a client that tries them goes on with Block1 and Block2", async (t) => {
  for (const [number, code] of [
    [19, "0.03"],
    [31, "0.01"],
  ] as const) {
    const options = [...path("t/q"), option(number, [0x0e])]
    const answer = await ask({ code, options, payload: Buffer.from(code === "0.03" ? "x" : "") })
    t.is(said(answer), `4.02 option ${number}`)
    t.is(await ask({ code, options, confirmable: false }, 300), null)
  }
  const file = join(gateway.folder, "body")
  const body = "0123456789abcdef".repeat(300)
  writeFileSync(file, body)
  const where = `coap://127.0.0.1:${gateway.udpPort}/t/q`
  // COAP_BLOCK_USE_LIBCOAP, SINGLE_BODY and TRY_Q_BLOCK.
  const put = await run("coap-client-notls", ["-B", "20", "-L", "7", "-m", "put", "-b", "256", "-f", file, where])
  t.is(put.code, 0)
  t.is((await run("coap-client-notls", ["-B", "20", "-L", "7", where])).out.trim(), body)
})

test("a WebSocket's messages are binary and begin with a CSM: RFC8323-4.2-1 RFC8323-5.3-1", async (t) => {
  const key = "dGhlIHNhbXBsZSBub25jZQ=="
  const head = `GET /.well-known/coap HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: coap\r\n\r\n`
  const text = Buffer.concat([Buffer.from(head), Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])])
  const answer = await exchange(gateway.port, text)
  t.regex(answer, /^HTTP\/1\.1 101 /)
  const frames = Buffer.from(answer.slice(answer.indexOf("\r\n\r\n") + 4), "latin1")
  t.deepEqual([frames[0], frames[3]], [0x82, 0xe1], "a binary frame with a CSM")
  t.true(frames.includes(Buffer.from([0x03, 0xeb])), "1003")
})

test("over TCP no message has a type, and an empty one is nothing: RFC8323-3.4-1", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  const come: Buffer[] = []
  socket.on("data", (data) => come.push(data))
  // A CSM, an empty message, a GET of /.well-known/core.
  const get = Buffer.from([0xd1, 0x04, 0x01, 0x2a, 0xbb, ...Buffer.from(".well-known"), 0x04, ...Buffer.from("core")])
  socket.write(Buffer.concat([Buffer.from([0x00, 0xe1, 0x00, 0x00]), get]))
  for (const end = Date.now() + 5_000; !Buffer.concat(come).includes("</t>") && Date.now() < end; ) await sleep(10)
  t.true(Buffer.concat(come).includes("</t>"))
  socket.destroy()
})
