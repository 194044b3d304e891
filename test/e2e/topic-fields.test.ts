/** What is said beside a message that comes by HTTP, in whatever form HTTP allows. */
import test from "ava"
import mqtt, { type IPublishPacket } from "mqtt"
import { exchange, type Running, runGateway } from "./run-gateway.ts"

let gateway: Running
test.before(async () => {
  gateway = await runGateway()
})
test.after.always(() => gateway?.stop())

const post = (target: string, fields: readonly string[]): Promise<string> => {
  const lines = [`POST ${target} HTTP/1.1`, "Host: a", "Connection: close", "Content-Length: 1", ...fields]
  return exchange(gateway.port, `${lines.join("\r\n")}\r\n\r\n1`)
}

test("an expiry stands in any line of Cache-Control, in any case, with or without quotes", async (t) => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { protocolVersion: 5 })
  t.teardown(() => client.endAsync(true))
  const packets: IPublishPacket[] = []
  client.on("message", (_topic, _payload, packet) => packets.push(packet))
  await client.subscribeAsync("expiry/#")
  const forms: readonly (readonly [readonly string[], number | undefined])[] = [
    [["Cache-Control: no-transform", "cache-control: Max-Age=60"], 60],
    [['Cache-Control: private, MAX-AGE="60"'], 60],
    [["Cache-Control: s-maxage=60, max-age=soon"], undefined],
    // More than MQTT can say.
    [[`Cache-Control: max-age=${2n ** 64n - 1n}`], 2 ** 32 - 1],
  ]
  for (const [index, [fields, seconds]] of forms.entries()) {
    t.regex(await post(`/t/expiry/${index}`, fields), /^HTTP\/1\.1 204 /)
    while (packets.length <= index) await new Promise((resolve) => setTimeout(resolve, 10))
    const expiry = packets[index]?.properties?.messageExpiryInterval
    t.true(expiry === seconds || expiry === (seconds ?? 0) - 1, `${fields}: ${expiry}`)
  }
})

test("what retain is in a query is said where it is neither true nor false", async (t) => {
  for (const [retain, status] of [
    ["true", 202],
    ["false", 202],
    ["1", 202],
    ["0", 202],
    ["maybe", 400],
  ])
    t.regex(await post(`/t/kept/${retain}?retain=${retain}`, []), new RegExp(`^HTTP/1\\.1 ${status} `), `${retain}`)
  const head = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
  for (const yes of ["true", "1"])
    t.regex(await exchange(gateway.port, `GET /t/kept/${yes} ${head}`), /^HTTP\/1\.1 200 /)
  for (const no of ["false", "0"])
    t.regex(await exchange(gateway.port, `GET /t/kept/${no} ${head}`), /^HTTP\/1\.1 404 /)
})

test("an event stream is asked for in any line of Accept and in any case", async (t) => {
  const head = "Accept: text/html\r\nAccept: Text/Event-Stream;q=0.9"
  const answer = await exchange(gateway.port, `GET /t/streamed HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`, /\r\n\r\n/)
  t.regex(answer, /content-type: text\/event-stream/i)
})
