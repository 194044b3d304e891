/** Numbers of `coap` that change while the gateway runs hold for what begins then, and end nothing; what is broadcast is not answered. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { generate, type ParsedPacket, parse } from "coap-packet"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let port = 0

const listeners = [
  { address: "tcp://127.0.0.1:0", protocols: "detect" },
  // All of this machine's addresses: what is broadcast arrives there, too.
  { address: "udp://0.0.0.0:0", protocols: ["coap"], anonymous: true },
]
const config = (coap: object): object => ({ workers: 1, listeners, coap })

ava.before(async () => {
  gateway = await runGateway(
    config({ maxObserversPerClient: 1, maxBlockBytes: 2_000, ackTimeoutMs: 100, maxRetransmit: 1, maxAsleepS: 0 }),
  )
  port = Number(/udp:\/\/0\.0\.0\.0:(\d+)/.exec(gateway.output())?.[1])
})
ava.after.always(async () => {
  await gateway?.stop()
})

async function until(holds: () => boolean | Promise<boolean>, forMs = 10_000): Promise<boolean> {
  for (const end = Date.now() + forMs; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

type Option = { name: string; value: Buffer }
let messageId = 1_000

/** A client whose datagrams are all kept, and which acknowledges nothing. */
class Client {
  readonly heard: ParsedPacket[] = []
  private constructor(readonly socket: Socket) {
    socket.on("message", (data) => this.heard.push(parse(data)))
  }

  static async open(): Promise<Client> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    socket.unref()
    await once(socket, "listening")
    return new Client(socket)
  }

  send(packet: object, to = "127.0.0.1"): number {
    messageId += 1
    this.socket.send(generate({ confirmable: true, messageId, ...packet }), port, to)
    return messageId
  }

  /** What answers a request; the same one is sent again where the network lost it. */
  async ask(packet: object): Promise<ParsedPacket> {
    const id = this.send(packet)
    const answer = (): ParsedPacket | undefined => this.heard.find((one) => one.messageId === id && one.ack)
    if (!(await until(() => answer() !== undefined))) throw new Error("no answer")
    return answer() as ParsedPacket
  }
}

const path = (...levels: string[]): Option[] => levels.map((level) => ({ name: "Uri-Path", value: Buffer.from(level) }))
const isObserving = ({ options }: ParsedPacket): boolean => options.some(({ name }) => name === "Observe")
const observe = (client: Client, level: string): Promise<ParsedPacket> =>
  client.ask({
    code: "0.01",
    token: Buffer.from(level),
    options: [{ name: "Observe", value: Buffer.alloc(0) }, ...path("t", level)],
  })
const publish = (level: string, body: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${gateway.port}/t/${level}`, { method: "PUT", body })

test("bounds and times of a new configuration hold for what begins then", async (t) => {
  const client = await Client.open()
  t.true(isObserving(await observe(client, "a")))
  t.false(isObserving(await observe(client, "b")), "one observation for a client")
  const long = (): Promise<ParsedPacket> =>
    client.ask({
      code: "0.03",
      options: [
        ...path("t", "long"),
        { name: "Block1", value: Buffer.from([8 | 6]) },
        { name: "Size1", value: Buffer.from([0x0b, 0xb8]) },
      ],
      payload: Buffer.alloc(1_024, "x"),
    })
  t.is((await long()).code, "4.13")

  const silent = await Client.open()
  t.true(isObserving(await observe(silent, "c")))
  const copies = (): number => silent.heard.filter(({ ack }) => !ack).length
  await publish("c", "first")
  await until(() => copies() === 2)
  // Longer than it would take to send it a third time.
  await sleep(700)
  t.is(copies(), 2, "sent again once, then given up")

  gateway.configure(
    config({ maxObserversPerClient: 2, maxBlockBytes: 4_000, ackTimeoutMs: 110, maxRetransmit: 3, maxAsleepS: 0 }),
  )
  t.true(await until(async () => isObserving(await observe(client, "b"))), "two")
  t.is((await long()).code, "2.31")
  const other = await Client.open()
  t.true(isObserving(await observe(other, "d")))
  await publish("d", "second")
  t.true(await until(() => other.heard.filter(({ ack }) => !ack).length === 4), "sent again three times")
  // What was there before goes on.
  await publish("a", "third")
  t.true(await until(() => client.heard.some(({ payload, token }) => `${token}${payload}` === "athird")))
})

test("a message that was answered before a change is answered from memory behind it", async (t) => {
  const client = await Client.open()
  const request = {
    code: "0.02",
    messageId: 7,
    token: Buffer.from("x"),
    options: path("t", "once"),
    payload: Buffer.from("sooner"),
  }
  const answers = (): ParsedPacket[] => client.heard.filter((one) => one.messageId === 7)
  client.send(request)
  t.true(await until(() => answers().length === 1))
  gateway.configure(config({ dedupEntries: 64, maxObserversPerClient: 3, maxAsleepS: 0 }))
  const watcher = await Client.open()
  for (const level of ["e", "f"]) await observe(watcher, level)
  t.true(await until(async () => isObserving(await observe(watcher, "g"))), "it is in force")
  const witness = await Client.open()
  t.true(isObserving(await observe(witness, "once")))
  client.send(request)
  t.true(await until(() => answers().length === 2))
  t.deepEqual(answers()[1], answers()[0])
  await publish("once", "later")
  t.true(await until(() => witness.heard.some(({ payload }) => payload.toString() === "later")))
  t.is(witness.heard.filter(({ ack }) => !ack).length, 1, "it was not published again")
})

// RFC7252-8-1 RFC7252-8.1-2
test("what is broadcast is not answered, nor reset, and counted", async (t) => {
  const client = await Client.open()
  client.socket.setBroadcast(true)
  const options = path(".well-known", "core")
  t.is((await client.ask({ code: "0.01", options })).code, "2.05", "to an own address it is")
  const heard = client.heard.length
  client.send({ code: "0.01", options }, "127.255.255.255")
  client.send({ code: "0.01", options, confirmable: false }, "127.255.255.255")
  client.send({ code: "0.00" }, "127.255.255.255")
  const counted = async (): Promise<boolean> =>
    /reason="coap-group"\} 3$/m.test(await (await fetch(`${gateway.admin}/metrics`)).text())
  t.true(await until(counted))
  // Behind them: whatever they led to would have come before.
  t.is((await client.ask({ code: "0.01", options })).code, "2.05")
  t.is(client.heard.length, heard + 1)
})
