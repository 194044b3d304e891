/** The page: a look at `/v1/stats` every second, everything else around it. */
import { useEffect, useRef, useState } from "preact/hooks"
import { hasToken, keepToken, Unauthorized, usePolled } from "./api.ts"
import { Chart, colorOf } from "./chart.tsx"
import { bytes, clock, duration, perSecond, whole } from "./format.ts"
import { Drops, Events, Policies, Routes, SlowConsumers, Talkers } from "./panels.tsx"
import { extend, NO_SERIES, rate, type Series, work } from "./rates.ts"
import type { Stats } from "./shapes.ts"
import { Upstreams } from "./upstreams.tsx"

const LOOK_MS = 1_000

interface Looks {
  readonly before: Stats | null
  readonly now: Stats | null
  readonly series: Series
}

export function App() {
  const { value, error } = usePolled<Stats>("/v1/stats", LOOK_MS)
  const [{ before, now, series }, setLooks] = useState<Looks>({ before: null, now: null, series: NO_SERIES })
  const last = useRef<Stats | null>(null)
  useEffect(() => {
    if (value === null || value === last.current) return
    const earlier = last.current
    last.current = value
    setLooks((looks) => ({ before: earlier, now: value, series: extend(looks.series, earlier, value) }))
  }, [value])

  if (error instanceof Unauthorized) return <Login />
  if (now === null)
    return (
      <p class="quiet center">
        {error === null ? "asking the gateway" : `the gateway does not answer: ${error.message}`}
      </p>
    )
  return (
    <>
      <Header before={before} now={now} isLost={error !== null} />
      <main>
        {error !== null && (
          <p class="panel wide lost" role="alert">
            The gateway does not answer. What stands here is from {clock(now.at)}; it is asked again every second.
          </p>
        )}
        <Protocols before={before} now={now} />
        <section class="panel wide">
          <h2>Requests and messages per second</h2>
          <Chart series={series} />
        </section>
        <Routes before={before} now={now} />
        <Upstreams before={before} now={now} />
        <Talkers />
        <SlowConsumers />
        <Drops before={before} now={now} />
        <Policies before={before} now={now} />
        <Events />
      </main>
      <footer class="quiet">
        <a href="/openapi.json">openapi.json</a> <a href="/metrics">metrics</a>
      </footer>
    </>
  )
}

interface Two {
  readonly before: Stats | null
  readonly now: Stats
}

function Header({ before, now, isLost }: Two & { readonly isLost: boolean }) {
  const { uptimeSeconds, residentBytes, eventLoopLagMs } = now.process
  const cpu = rate(before, now, (stats) => stats.process.cpuSeconds) * 100
  const facts: readonly (readonly [string, string])[] = [
    ["up", duration(uptimeSeconds)],
    ["plan", String(now.version)],
    ["cpu", `${cpu.toFixed(0)} %`],
    ["memory", bytes(residentBytes)],
    ["event loop lag", `${eventLoopLagMs.toFixed(1)} ms`],
    ["sessions", whole(now.sessions.connected ?? 0)],
    ["retained", whole(now.retained)],
    ["queued", whole(now.queued)],
  ]
  return (
    <header>
      <h1>
        Tidegate{" "}
        <span class={`badge ${isLost ? "bad" : now.state === "running" ? "good" : "warn"}`}>
          {isLost ? "no answer" : now.state}
        </span>
      </h1>
      <p class="quiet">{now.listeners.map(({ name, address }) => `${name.split("://")[0]}://${address}`).join("  ")}</p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </header>
  )
}

function Protocols({ before, now }: Two) {
  if (now.protocols.length === 0) return <p class="quiet wide">nobody has connected yet</p>
  return (
    <section class="cards wide">
      {now.protocols.map(({ protocol, connections }, index) => (
        <div class="card" key={protocol} style={{ borderLeftColor: colorOf(index) }}>
          <h2>{protocol}</h2>
          <p class="number">{perSecond(rate(before, now, (stats) => work(stats, protocol)))}</p>
          <p class="quiet">a second, {whole(connections)} open</p>
        </div>
      ))}
    </section>
  )
}

function Login() {
  const [token, setToken] = useState("")
  const submit = (event: Event): void => {
    event.preventDefault()
    keepToken(token)
    location.reload()
  }
  return (
    <form class="panel center" onSubmit={submit}>
      <h1>Tidegate</h1>
      <label>
        Token of the admin API
        <input
          type="password"
          autocomplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      {hasToken() && (
        <p class="bad" role="alert">
          That token is not the right one.
        </p>
      )}
      <button type="submit">Look inside</button>
    </form>
  )
}
