// F13 and the registry: what it costs to apply 10,000 and 100,000 routes to a gateway that serves, what everything
// else waits for meanwhile (an admin call every 5 ms), and registrations a second with watchers.
import { writeFileSync } from "node:fs"
import { Agent, get, request } from "node:http"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, freePort, listening, scratch, start, stop } from "./lib/process.mjs"
import { ranged, save, say, table } from "./lib/report.mjs"

const ROOT = process.env.TIDEGATE_ROOT ?? fileURLToPath(new URL("../", import.meta.url))
const WATCHERS = 10
const REGISTRARS = 8

const asked = options()
const agent = new Agent({ keepAlive: true })
const gateway = await run()
const applies = []
for (const routes of [10_000, 100_000]) applies.push({ routes, ...(await measureApplies(routes)) })
say("\nA configuration that replaces another one of as many routes, over PUT /v1/config")
say(
  table(
    ["routes", "ms", "CPU ms", "a call meanwhile: p50 ms", "p99 ms", "most ms"],
    applies.map(({ routes, ms, cpu, calls }) => [
      String(routes),
      ranged(ms, 0),
      ranged(cpu, 0),
      calls.p50.toFixed(1),
      calls.p99.toFixed(1),
      calls.most.toFixed(0),
    ]),
  ),
)
await put({ upstreams: { api: { service: "api" } }, routes: [{ when: { path: "/**" }, to: "api" }] })
const registry = await measureRegistrations()
say(`\nRegistrations from ${REGISTRARS} connections, each told to ${WATCHERS} watchers`)
say(
  table(
    ["", "a second", "CPU us each", "told to each watcher"],
    [["tidegate", ranged(registry.rate, 0), ranged(registry.cpuUs, 0), registry.told.toFixed(0)]],
  ),
)
save("control", { asked, applies, registry })
await stop(gateway.child)
agent.destroy()

async function run() {
  const [port, admin, folder] = [await freePort(), await freePort(), scratch()]
  const file = join(folder, "tidegate.config.json")
  writeFileSync(
    file,
    JSON.stringify({
      workers: 1,
      admin: { address: `127.0.0.1:${admin}` },
      listeners: [{ address: `tcp://127.0.0.1:${port}` }],
    }),
  )
  const args = [join(ROOT, "bin", "tidegate.mjs"), "run", "--config", file]
  const child = start(CORE.gateway, process.execPath, args, { cwd: folder })
  await listening(admin, child)
  return { child, admin }
}

/** A call to the admin API; its status. */
function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" }
    const sent = request({ port: gateway.admin, method, path, headers, agent }, (answer) => {
      answer.resume().once("end", () => resolve(answer.statusCode))
    })
    sent.once("error", reject)
    sent.end(body)
  })
}

async function put(config) {
  const status = await call("PUT", "/v1/config", JSON.stringify(config))
  if (status !== 200) throw new Error(`PUT /v1/config was answered with ${status}`)
}

async function measureApplies(count) {
  const [ms, cpu, calls] = [[], [], []]
  for (let round = 0; round < asked.rounds; round++) {
    const routes = Array.from({ length: count }, (_, index) => ({
      when: { host: `h${index % 1_000}.example`, path: `/round-${round}/r${index}/**` },
      to: "api",
    }))
    const config = { upstreams: { api: { endpoints: ["127.0.0.1:9"] } }, routes }
    const waits = []
    let isOver = false
    const probe = (async () => {
      while (!isOver) {
        const began = performance.now()
        await call("GET", "/health")
        waits.push(performance.now() - began)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    const [began, cpuBefore] = [performance.now(), cpuMs(gateway.child.pid)]
    await put(config)
    if (round > 0) {
      ms.push(performance.now() - began)
      cpu.push(cpuMs(gateway.child.pid) - cpuBefore)
      calls.push(...waits)
    }
    isOver = true
    await probe
  }
  calls.sort((a, b) => a - b)
  const share = (part) => calls[Math.min(calls.length - 1, Math.floor(calls.length * part))]
  return { ms: spread(ms), cpu: spread(cpu), calls: { p50: share(0.5), p99: share(0.99), most: calls.at(-1) } }
}

async function measureRegistrations() {
  let told = 0
  const watchers = Array.from({ length: WATCHERS }, () => {
    return get({ port: gateway.admin, path: "/v1/services/api/watch", agent: false }, (answer) => {
      answer.setEncoding("utf8").on("data", (text) => {
        told += text.split("\ndata: ").length - 1
      })
    })
  })
  const [rates, cpus] = [[], []]
  let made = 0
  for (let round = 0; round < asked.rounds; round++) {
    const [end, cpuBefore, before, began] = [
      performance.now() + asked.seconds * 1_000,
      cpuMs(gateway.child.pid),
      made,
      performance.now(),
    ]
    const registrar = async () => {
      while (performance.now() < end) {
        const id = made++ % 500
        const body = JSON.stringify({ host: "127.0.0.1", port: 20_000 + (made % 1_000), ttlSeconds: 60 })
        const status = await call("PUT", `/v1/services/api/instances/i${id}`, body)
        if (status >= 300) throw new Error(`a registration was answered with ${status}`)
      }
    }
    await Promise.all(Array.from({ length: REGISTRARS }, registrar))
    if (round === 0) continue
    rates.push(((made - before) * 1_000) / (performance.now() - began))
    cpus.push(((cpuMs(gateway.child.pid) - cpuBefore) * 1_000) / (made - before))
  }
  for (const watcher of watchers) watcher.destroy()
  return { rate: spread(rates), cpuUs: spread(cpus), told: told / WATCHERS }
}

function spread(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: sorted[sorted.length >> 1], min: sorted[0], max: sorted.at(-1) }
}
