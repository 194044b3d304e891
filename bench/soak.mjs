// F20: hours of mixed load. Memory must not grow and every message must be accounted for. `--minutes 480` (default), `--rate 200`
// calls a second of each kind of client; --quick is half a minute and shows that the script works.
import { parseArgs } from "node:util"
import { htmlTable, linePlot, saveHtml } from "./lib/html.mjs"
import { fail, machine, save, say } from "./lib/report.mjs"
import { GatewayProcess } from "./soak/gateway.mjs"
import { Load, Origin, unaccounted } from "./soak/load.mjs"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "480" },
    rate: { type: "string", default: "200" },
    quick: { type: "boolean", default: false },
  },
})
const minutes = values.quick ? 0.5 : Number(values.minutes)
const everyMs = Math.max(500, Math.min(10_000, (minutes * 60_000) / 400))
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

const origin = new Origin()
const upstreams = { api: { endpoints: [await origin.open()], health: { tcp: true } } }
const routes = [{ name: "api", when: { path: "/api/**" }, to: "api" }]
const gateway = new GatewayProcess({ upstreams, routes })
await gateway.start()
say(`soak: ${minutes} minutes at ${values.rate} calls a second of each kind, gateway ${gateway.pid}`)
const load = new Load(gateway, { perSecond: Number(values.rate) })
load.start()

const samples = []
const began = performance.now()
for (let reloads = 0; performance.now() - began < minutes * 60_000; reloads++) {
  await sleep(everyMs)
  // A change now and then: what it does not concern must not notice.
  if (reloads % 20 === 19) {
    const more = { name: "ping", when: { path: "/ping" }, to: { respond: { status: 200, body: `${reloads}` } } }
    gateway.write({ upstreams, routes: [...routes, more] })
  }
  const metric = await gateway.metrics()
  samples.push({
    second: (performance.now() - began) / 1_000,
    resident: gateway.resident(),
    connections: metric("tidegate_connections"),
    queued: metric("tidegate_queued_messages"),
    published: metric("tidegate_publishes_total"),
    dropped: metric("tidegate_dropped_total"),
  })
}
await load.stop()
await sleep(2_000)
const metric = await gateway.metrics()
const account = unaccounted(metric)
const resident = gateway.resident()
await gateway.close()
origin.close()

const slope = slopePerHour(samples.slice(Math.floor(samples.length / 3)))
const { counts } = load
say(
  `  ${metric("tidegate_publishes_total")} publishes, ${account.matched} deliveries due, ${account.dropped} dropped by reason`,
)
say(`  unaccounted: ${account.published} publishes, ${account.deliveries} deliveries`)
say(`  resident ${mib(resident)} MiB at the end, slope ${mib(slope)} MiB an hour over the last two thirds`)
say(`  ${JSON.stringify(counts)}`)
save(
  "soak",
  { minutes, rate: Number(values.rate), counts, account, slopeBytesPerHour: slope, samples },
  { html: false },
)
const lines = (name, scale = 1) => ({ name, points: samples.map((sample) => [sample.second, sample[name] / scale]) })
saveHtml("soak", "Tidegate under mixed load", [
  `<p>${minutes} minutes, ${machine().cores} cores, Linux ${machine().kernel}, Node ${machine().node}.</p>`,
  htmlTable(
    ["what", "value"],
    [
      ["publishes", metric("tidegate_publishes_total")],
      ["deliveries due", account.matched],
      ["dropped, by a reason", account.dropped],
      ["deliveries unaccounted for", account.deliveries],
      ["resident memory, MiB an hour", mib(slope)],
    ],
  ),
  linePlot({ title: "Resident memory", unit: "MiB", series: [lines("resident", 1_048_576)] }),
  linePlot({ title: "Connections and queue", unit: "", series: [lines("connections"), lines("queued")] }),
  linePlot({ title: "Messages", unit: "since the start", series: [lines("published"), lines("dropped")] }),
])
if (account.published !== 0 || account.deliveries !== 0) fail("messages are unaccounted for")
if (
  counts.mqttReceived === 0 ||
  counts.http === counts.httpFailed ||
  counts.coap === counts.coapFailed ||
  counts.websocket === 0
)
  fail("a kind of client got nothing")

/** Least squares of resident memory over time. */
function slopePerHour(rows) {
  const n = rows.length
  const [meanX, meanY] = [
    rows.reduce((sum, { second }) => sum + second, 0) / n,
    rows.reduce((sum, { resident: y }) => sum + y, 0) / n,
  ]
  const above = rows.reduce((sum, { second, resident: y }) => sum + (second - meanX) * (y - meanY), 0)
  const below = rows.reduce((sum, { second }) => sum + (second - meanX) ** 2, 0)
  return below === 0 ? 0 : (above / below) * 3_600
}

function mib(bytes) {
  return (bytes / 1_048_576).toFixed(1)
}
