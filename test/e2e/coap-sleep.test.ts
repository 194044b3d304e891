/**
 * Devices that sleep: they observe where they get their commands, go silent, and come back, by plain
 * datagrams from the same port, by a new registration, and by OSCORE and DTLS from another address.
 */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { generate, type ParsedPacket, parse } from "coap-packet"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running

ava.before(async () => {
  gateway = await runGateway({
    workers: 1,
    coap: { ackTimeoutMs: 100, maxRetransmit: 1, maxAsleepS: 6, maxAsleepMessages: 5 },
  })
})
ava.after.always(async () => {
  await gateway?.stop()
})

type Option = { name: string; value: Buffer }

/** A device that observes one topic. */
class Device {
  readonly heard: string[] = []
  isAwake = true
  #messageId = Math.trunc(Math.random() * 60_000)

  private constructor(
    private readonly socket: Socket,
    private readonly topic: string,
  ) {
    socket.on("message", (data) => {
      if (this.isAwake) this.#take(parse(data))
    })
  }

  static async begin(topic: string): Promise<Device> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    socket.unref()
    await once(socket, "listening")
    return new Device(socket, topic)
  }

  observe(token = "s"): void {
    this.ask(`t/${this.topic}`, token, [{ name: "Observe", value: Buffer.alloc(0) }])
  }

  ask(path: string, token: string, options: Option[] = []): void {
    this.#messageId += 1
    const names = path.split("/").map((name) => ({ name: "Uri-Path", value: Buffer.from(name) }))
    const head = { confirmable: true, messageId: this.#messageId, token: Buffer.from(token), code: "0.01" as const }
    this.socket.send(generate({ ...head, options: [...names, ...options] }), gateway.udpPort, "127.0.0.1")
  }

  #take(packet: ParsedPacket): void {
    const { confirmable, messageId } = packet
    if (confirmable) this.socket.send(generate({ ack: true, messageId, code: "0.00" }), gateway.udpPort, "127.0.0.1")
    if (packet.options.some(({ name }) => name === "Observe")) {
      this.heard.push(`${packet.token.toString()}:${packet.payload.toString()}`)
    }
  }
}

const publish = async (topic: string, body: string, query = "?retain=false"): Promise<number> =>
  (await fetch(`http://127.0.0.1:${gateway.port}/t/${topic}${query}`, { method: "POST", body })).status

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  return Number(new RegExp(`^${name.replace(/[{}]/g, "\\$&")} (\\d+)$`, "m").exec(text)?.[1] ?? 0)
}

async function until(holds: () => boolean | Promise<boolean>, forMs = 8_000): Promise<boolean> {
  for (const end = Date.now() + forMs; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

const asleep = (count: number) => (): Promise<boolean> =>
  metric("tidegate_coap_asleep").then((value) => value === count)

/** Observes, and falls asleep over the first command. */
async function putToSleep(device: Device, topic: string): Promise<void> {
  device.observe()
  await until(() => device.heard.length === 1)
  device.isAwake = false
  await publish(topic, "first")
  await until(asleep(1))
}

test("commands to a device that sleeps wait, and come in order at its next contact", async (t) => {
  const device = await Device.begin("same")
  await putToSleep(device, "same")
  for (const command of ["on", "dim", "off"]) await publish("same", command)
  t.is(device.heard.length, 1)
  device.isAwake = true
  device.ask("t/elsewhere", "x")
  t.true(await until(() => device.heard.length === 5))
  t.deepEqual(device.heard, ["s:", "s:first", "s:on", "s:dim", "s:off"])
  t.true(await until(asleep(0)))
  await publish("same", "awake")
  t.true(await until(() => device.heard.at(-1) === "s:awake"))
})

test("a device that registers again, under the same token or another, gets what waited behind the answer", async (t) => {
  for (const token of ["s", "other"]) {
    const topic = `again/${token}`
    const device = await Device.begin(topic)
    await putToSleep(device, topic)
    for (const command of ["on", "off"]) await publish(topic, command)
    device.isAwake = true
    device.observe(token)
    t.true(await until(() => device.heard.length === 5), String(device.heard))
    t.deepEqual(device.heard.slice(1), [`${token}:`, `${token}:first`, `${token}:on`, `${token}:off`])
    await publish(topic, "once")
    t.true(await until(() => device.heard.at(-1) === `${token}:once`))
    await sleep(50)
    t.is(device.heard.length, 6, "the first observation is over")
  }
})

test("of a retained state only the newest waits, and beyond the bounds each drop is counted", async (t) => {
  const device = await Device.begin("bounds")
  await putToSleep(device, "bounds")
  for (const state of ["21.5", "21.6", "21.7"]) await publish("bounds", state, "")
  for (const command of ["1", "2", "3", "4", "5"]) await publish("bounds", command)
  t.is(await metric('tidegate_dropped_total{protocol="coap",reason="coap-asleep-full"}'), 2)
  t.is(await metric('tidegate_dropped_total{protocol="coap",reason="coap-replaced"}'), 2)
  device.isAwake = true
  device.ask("t/elsewhere", "x")
  t.true(await until(() => device.heard.length === 6))
  t.deepEqual(device.heard.slice(1), ["s:first", "s:21.7", "s:1", "s:2", "s:3"])
})

test("what is too old when the device comes is not told, and a device that never comes is forgotten", async (t) => {
  const device = await Device.begin("old")
  await putToSleep(device, "old")
  await fetch(`http://127.0.0.1:${gateway.port}/t/old?retain=false`, {
    method: "POST",
    body: "short",
    headers: { "cache-control": "max-age=1" },
  })
  await publish("old", "long")
  await sleep(2_100)
  device.isAwake = true
  device.ask("t/elsewhere", "x")
  t.true(await until(() => device.heard.at(-1) === "s:long"))
  t.false(device.heard.includes("s:short"))
  const silent = 'tidegate_dropped_total{protocol="coap",reason="coap-silent"}'
  t.is(await metric(silent), 1)
  // The gauge follows in its own time: it would still tell of the sleep before.
  t.true(await until(asleep(0)))
  device.isAwake = false
  await publish("old", "never")
  t.true(await until(asleep(1)))
  t.true(await until(asleep(0), 9_000))
  t.is(await metric(silent), 2)
})
