// Faults under load, one after the other: kill -9, a flapping upstream, reloads (good and bad), a slow consumer, a pause as of
// a suspended machine, a disk that is full. After each the gateway must serve again and account for every message since its start. `--rounds 20`; --quick is one.
import { parseArgs } from "node:util"
import { fail, save, say } from "./lib/report.mjs"
import { GatewayProcess } from "./soak/gateway.mjs"
import { Load, Origin, slowReader, unaccounted } from "./soak/load.mjs"

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "20" }, quick: { type: "boolean", default: false } },
})
const rounds = values.quick ? 1 : Number(values.rounds)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

const origin = new Origin()
const upstreams = {
  api: {
    endpoints: [await origin.open()],
    health: { http: "/", intervalMs: 200 },
    breaker: { failures: 5, openMs: 500 },
  },
}
const routes = [
  {
    name: "api",
    when: { path: "/api/**" },
    to: "api",
    use: [{ retry: { attempts: 2, on: ["connect-failure", "reset", "5xx"] } }],
  },
]
const config = { upstreams, routes, broker: { maxStoredBytes: 64 * 1_024 * 1_024 } }
const gateway = new GatewayProcess(config)
await gateway.start()
const load = new Load(gateway, { perSecond: 100 })
load.start()
await sleep(1_000)

const FAULTS = {
  "kill -9": async () => {
    await gateway.kill("SIGKILL")
    await gateway.start()
  },
  "upstream flaps": async () => {
    for (let flap = 0; flap < 3; flap++) {
      origin.flaky = true
      await sleep(300)
      origin.flaky = false
      await sleep(300)
    }
  },
  reloads: async () => {
    for (let reload = 0; reload < 10; reload++) {
      const extra = { name: `extra-${reload}`, when: { path: `/extra/${reload}` }, to: { respond: { status: 200 } } }
      gateway.write({ ...config, routes: reload % 3 === 2 ? [{ when: {}, to: "nowhere" }] : [...routes, extra] })
      await sleep(150)
    }
    gateway.write(config)
    await sleep(500)
  },
  "slow consumers": async () => {
    const slow = await slowReader(gateway)
    const before = (await gateway.metrics())("tidegate_dropped_total{reason=slow-consumer}")
    const flood = "x".repeat(100_000)
    for (let number = 0; number < 300; number++)
      await fetch(`http://127.0.0.1:${gateway.port}/t/soak/flood?retain=false`, { method: "POST", body: flood }).catch(
        () => undefined,
      )
    const after = (await gateway.metrics())("tidegate_dropped_total{reason=slow-consumer}")
    slow()
    if (after === before) throw new Error("a reader that takes nothing lost nothing")
    return `${after - before} dropped for who does not read`
  },
  "a pause of 3 s": async () => {
    // As on a machine that was suspended: every clock is ahead of what the gateway last saw.
    process.kill(gateway.pid, "SIGSTOP")
    await sleep(3_000)
    process.kill(gateway.pid, "SIGCONT")
  },
  "disk full": async () => {
    // The quota of the data directory stands for the disk: what does not fit is refused, what was kept stays.
    const fill = (number, method, body) =>
      fetch(`http://127.0.0.1:${gateway.port}/t/fill/${number}`, { method, body }).then(
        ({ ok }) => ok,
        () => false,
      )
    const body = "x".repeat(500_000)
    let kept = 0
    while (kept < 200 && (await fill(kept, "PUT", body))) kept++
    if (kept === 200) return "was not full"
    for (let number = 0; number < kept; number++) await fill(number, "DELETE")
    const began = performance.now()
    while (!(await fill("again", "PUT", "x"))) {
      if (performance.now() - began > 60_000) throw new Error("no room again after a minute")
      await sleep(200)
    }
    await fill("again", "DELETE")
    return `${kept} kept, the next refused; room again ${Math.round(performance.now() - began)} ms after they were cleared`
  },
}

const outcomes = []
for (let round = 0; round < rounds; round++) {
  for (const [name, fault] of Object.entries(FAULTS)) {
    const began = performance.now()
    const note = (await fault()) ?? ""
    const recovered = await serves(gateway)
    const ms = Math.round(performance.now() - began)
    outcomes.push({ round, name, ms, recovered, note })
    say(`  ${recovered ? "ok  " : "NOT "} ${name}: serves again after ${ms} ms in all ${note}`)
    if (!recovered) fail(`${name}: the gateway does not serve again\n${gateway.errors}`)
  }
}
await load.stop()
await sleep(2_000)
const account = unaccounted(await gateway.metrics())
say(
  `  since the last start: ${account.matched} deliveries due, unaccounted ${account.deliveries}; ${JSON.stringify(load.counts)}`,
)
if (account.published !== 0 || account.deliveries !== 0) fail("messages are unaccounted for")
if (/panicked/.test(gateway.errors)) fail(`a panic:\n${gateway.errors}`)
save("chaos", { rounds, outcomes, account, counts: load.counts })
await gateway.close()
origin.close()

/** Whether HTTP, MQTT over HTTP and the admin API answer within ten seconds. */
async function serves({ port, admin }) {
  for (let tries = 0; tries < 100; tries++) {
    const ask = (url, init) =>
      fetch(url, { ...init, signal: AbortSignal.timeout(1_000) }).then(
        ({ ok }) => ok,
        () => false,
      )
    const base = `http://127.0.0.1:${port}`
    const answers = [
      ask(`${base}/api/hello`),
      ask(`${base}/t/soak/alive`, { method: "POST", body: "x" }),
      ask(`${admin}/ready`),
    ]
    if ((await Promise.all(answers)).every(Boolean)) return true
    await sleep(100)
  }
  return false
}
