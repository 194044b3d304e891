/** The panel of upstreams and their endpoints: what is in trouble first, then what has most to do. */
import { usePolled } from "./api.ts"
import { perSecond } from "./format.ts"
import { type Looks, MOST } from "./panels.tsx"
import { rate } from "./rates.ts"
import type { Items, Upstream } from "./shapes.ts"
import { Badge, TablePanel } from "./table.tsx"

type Endpoint = Upstream["endpoints"][number]

/** Endpoints of an upstream that are named; the others are counted. */
const ENDPOINTS = 4

export function Upstreams({ before, now }: Looks) {
  const { value } = usePolled<Items<Upstream>>("/v1/upstreams", 2_000)
  const all = (value?.items ?? []).map((upstream) => ({
    upstream,
    trouble: troubleOf(upstream),
    requests: rate(
      before,
      now,
      (stats) => stats.upstreams.find((row) => row.upstream === upstream.name)?.requests ?? 0,
    ),
  }))
  all.sort((a, b) => b.trouble - a.trouble || b.requests - a.requests)
  const shown = all.slice(0, MOST).flatMap(({ upstream, requests }) => rowsOf(upstream, requests))
  return (
    <TablePanel
      title={all.length > MOST ? `Upstreams, ${MOST} of ${all.length}` : "Upstreams"}
      head={["upstream", "state", "active", "requests/s"]}
      rows={shown}
      empty="no upstream"
    />
  )
}

function rowsOf({ name, breaker, problem, endpoints }: Upstream, requests: number) {
  const state = breaker === "open" ? "bad" : breaker === "half-open" ? "warn" : "none"
  const sorted = [...endpoints].sort((a, b) => Number(isDown(b)) - Number(isDown(a)))
  const rest = sorted.length - ENDPOINTS
  return [
    [
      <b key="name">{name}</b>,
      problem === null ? (
        <Badge key="breaker" kind={state} text={`breaker ${breaker ?? "off"}`} />
      ) : (
        <Badge key="problem" kind="bad" text={problem} />
      ),
      "",
      perSecond(requests),
    ],
    ...sorted.slice(0, ENDPOINTS).map((endpoint) => {
      const word = wordOf(endpoint)
      const kind = word === "healthy" ? "good" : isDown(endpoint) ? "bad" : "none"
      return [
        <span key="address" class="inner">
          {endpoint.address}
        </span>,
        <Badge key="health" kind={kind} text={word} />,
        endpoint.active,
        "",
      ]
    }),
    ...(rest > 0 ? [[<span key="rest" class="inner quiet">{`and ${rest} more`}</span>, "", "", ""]] : []),
  ]
}

function wordOf({ ejectedUntil, draining, health }: Endpoint): string {
  return ejectedUntil !== null ? "ejected" : draining ? "draining" : health
}

function isDown(endpoint: Endpoint): boolean {
  return ["unhealthy", "ejected"].includes(wordOf(endpoint))
}

/** Higher: more of it does not work. */
function troubleOf({ problem, breaker, endpoints }: Upstream): number {
  const down = endpoints.length === 0 ? 0 : endpoints.filter(isDown).length / endpoints.length
  return down + Number(breaker === "open") + Number(problem !== null)
}
