/** What a client breaks on its way to another broker: it is told here, and nothing of it arrives there. */
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { type FakeBroker, fakeBroker } from "./fake-broker.ts"
import { start, type Target } from "./raw.ts"

const inFrontOf = (t: ExecutionContext<unknown>, { port }: FakeBroker): Promise<Target> =>
  start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${port}`] } },
    routes: [{ when: { protocol: "mqtt" }, to: "brokers" }],
  })

/** Bytes after a CONNECT, and the reason code they are closed with. */
const BROKEN = [
  ["MQTT-3.1.0-2: a second CONNECT", "10 0d 0004 4d515454 05 02 003c 00 0000", 0x82],
  ["MQTT-3.8.1-1: reserved flags of a SUBSCRIBE", "80 07 0001 00 0001 61 00", 0x81],
  ["MQTT-3.3.2-9: a topic alias above what the broker takes", "30 07 0001 61 03 230001", 0x94],
  ["MQTT-3.3.4-6: a client's PUBLISH with a subscription identifier", "30 06 0001 61 02 0b01", 0x82],
  ["section 2.1.2: a CONNACK of a client", "20 03 00 00 00", 0x82],
  ["section 2.1.2: a SUBACK of a client", "90 04 0001 00 00", 0x82],
  ["section 2.1.2: an UNSUBACK of a client", "b0 04 0001 00 00", 0x82],
  ["section 2.1.2: a PINGRESP of a client", "d0 00", 0x82],
  ["section 3.14.2.2.2: a session expiry at DISCONNECT after none at CONNECT", "e0 07 00 05 1100000001", 0x82],
  ["MQTT-3.14.2-1: an unknown reason code in DISCONNECT", "e0 01 03", 0x82],
  ["MQTT-3.14.2-1: a reason code of servers only in DISCONNECT", "e0 01 8b", 0x82],
  ["section 3.14.2.2.5: a server reference in DISCONNECT", "e0 06 00 04 1c 0001 61", 0x82],
] as const

test("a broken rule ends a proxied client's connection with its reason code, and its broker loses it without a goodbye", async (t) => {
  const there = await fakeBroker(t)
  const target = await inFrontOf(t, there)
  for (const [title, bytes, code] of BROKEN) {
    const { client, broker } = await there.meet(target)
    client.sendBytes(bytes)
    t.deepEqual(await client.closed(), { closed: true, code }, title)
    t.is(await broker.next(), null, `${title}: nothing arrives`)
    t.true((await broker.closed(1)).closed, title)
  }
  const { client } = await there.meet(target)
  client.sendBytes("d0 00")
  const { properties } = await client.expect("disconnect")
  t.is(properties?.reasonString, "a packet that only a server sends")
})

test("MQTT-3.1.2-22: a proxied client whose broker closes for its silence is told 0x8D at once, by the keep-alive that the broker granted", async (t) => {
  const there = await fakeBroker(t)
  const target = await inFrontOf(t, there)
  for (const [connect, connack] of [
    [{ keepalive: 1 }, {}],
    [{ keepalive: 60 }, { serverKeepAlive: 1 }],
  ] as const) {
    const { client, broker } = await there.meet(target, connect, connack)
    await sleep(1_000)
    client.send({ cmd: "pingreq" })
    await broker.expect("pingreq")
    await sleep(1_600)
    broker.drop()
    const lost = Date.now()
    t.deepEqual(await client.closed(), { closed: true, code: 0x8d })
    t.true(Date.now() - lost < 1_000)
  }
  const { client, broker } = await there.meet(target, { keepalive: 1 })
  await sleep(1_000)
  client.send({ cmd: "pingreq" })
  await broker.expect("pingreq")
  await sleep(1_000)
  broker.drop()
  t.deepEqual(await client.closed(), { closed: true, code: 0x9c }, "who was heard in time has lost its broker")
})

test("MQTT-3.1.4-3: a proxied client whose broker closes it for a newer connection of its own is told 0x8E at once", async (t) => {
  const there = await fakeBroker(t)
  const target = await inFrontOf(t, there)
  const first = await there.meet(target, { clientId: "same" })
  const second = await there.meet(target, { clientId: "same" })
  const third = await there.meet(target, { clientId: "other" })
  first.broker.drop()
  t.deepEqual(await first.client.closed(500), { closed: true, code: 0x8e })
  for (const { broker, client } of [second, third]) {
    broker.drop()
    t.deepEqual(await client.closed(), { closed: true, code: 0x9c }, "who has no newer one has lost its broker")
  }
  const again = await there.meet(target, { clientId: "same" })
  again.broker.drop()
  t.deepEqual(await again.client.closed(), { closed: true, code: 0x9c }, "nobody holds what has ended")
})
