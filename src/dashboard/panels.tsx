/** The panels of the page, each from what one call answers. */
import { type ServerEvent, useEvents, usePolled } from "./api.ts"
import { bytes, clock, perSecond, whole } from "./format.ts"
import { rate } from "./rates.ts"
import type { Connection, Items, MqttClient, Route, Stats } from "./shapes.ts"
import { Badge, TablePanel } from "./table.tsx"

/** Rows of a list that is cut. */
export const MOST = 8

export interface Looks {
  readonly before: Stats | null
  readonly now: Stats
}

export function Routes({ before, now }: Looks) {
  const { value } = usePolled<Items<Route>>("/v1/routes", 10_000)
  const rows = (value?.items ?? []).map(({ name, status, problem }) => {
    const of = (key: "requests" | "errors") =>
      rate(before, now, (stats) => stats.routes.find(({ route }) => route === name)?.[key] ?? 0)
    const state = <Badge kind={status === "serving" ? "good" : "bad"} text={problem ?? status} />
    const isBroken = status !== "serving"
    return {
      isBroken,
      requests: of("requests"),
      cells: [name, state, perSecond(of("requests")), perSecond(of("errors"))],
    }
  })
  // What is wrong is looked for first.
  rows.sort((a, b) => Number(b.isBroken) - Number(a.isBroken) || b.requests - a.requests)
  const shown = rows.slice(0, MOST).map(({ cells }) => cells)
  return (
    <TablePanel
      title={rows.length > MOST ? `Routes, ${MOST} of ${rows.length}` : "Routes"}
      head={["route", "state", "requests/s", "5xx/s"]}
      rows={shown}
      empty="no route; topics work without one"
    />
  )
}

export function Talkers() {
  const { value } = usePolled<Items<Connection>>("/v1/connections?limit=500", 5_000)
  const all = [...(value?.items ?? [])].sort((a, b) => b.bytesIn + b.bytesOut - a.bytesIn - a.bytesOut)
  const rows = all.slice(0, MOST).map(({ protocol, clientId, peer, bytesIn, bytesOut }) => {
    return [clientId ?? peer, protocol, bytes(bytesIn), bytes(bytesOut)]
  })
  return (
    <TablePanel
      title={value?.nextCursor ? `Top talkers of ${whole(all.length)} connections` : "Top talkers"}
      head={["client", "protocol", "in", "out"]}
      rows={rows}
      empty="nobody is connected"
    />
  )
}

export function SlowConsumers() {
  const { value } = usePolled<Items<MqttClient>>("/v1/mqtt/clients", 5_000)
  const waiting = (value?.items ?? []).filter(({ queued }) => queued > 0).sort((a, b) => b.queued - a.queued)
  const rows = waiting.slice(0, MOST).map(({ clientId, connected, queued, queuedBytes }) => {
    const state = connected ? <Badge kind="warn" text="slow" /> : <Badge kind="none" text="away" />
    return [clientId, state, whole(queued), bytes(queuedBytes)]
  })
  return (
    <TablePanel
      title="Slow consumers"
      head={["client", "state", "queued", "bytes"]}
      rows={rows}
      empty="no message waits for anybody"
    />
  )
}

export function Drops({ before, now }: Looks) {
  const rows = now.drops.map(({ protocol, reason, count }) => {
    const same = (row: Stats["drops"][number]): boolean => row.protocol === protocol && row.reason === reason
    return [reason, protocol, whole(count), perSecond(rate(before, now, (stats) => stats.drops.find(same)?.count ?? 0))]
  })
  return (
    <TablePanel title="Dropped messages" head={["reason", "protocol", "total", "per s"]} rows={rows} empty="none" />
  )
}

export function Policies({ now }: Looks) {
  const rows = now.policies.map(({ policy, calls, seconds }) => {
    const { decided = 0, timeout = 0, error = 0, cached = 0, filtered = 0, compiled = 0 } = calls
    const asked = decided + timeout + error
    const price = asked === 0 ? "-" : `${((seconds / asked) * 1e6).toFixed(0)} us`
    const failed = timeout + error
    return [
      policy,
      whole(asked),
      whole(cached + filtered + compiled),
      price,
      failed === 0 ? "0" : <Badge key="f" kind="bad" text={whole(failed)} />,
    ]
  })
  return (
    <TablePanel
      title="Policies"
      head={["policy", "asked", "answered natively", "price", "failed"]}
      rows={rows}
      empty="no policy has run"
    />
  )
}

const EVENTS = "/v1/events?type=endpoint&type=log&type=applied&type=refused&type=policy-thread&type=alert"

export function Events() {
  const rows = useEvents(EVENTS, MOST * 2).map((event) => [clock(event.time), event.type, textOf(event)])
  return (
    <TablePanel
      title="Recent events"
      head={["time", "event", "what"]}
      rows={rows}
      empty="nothing since this page was opened"
      isWide
    />
  )
}

function textOf({ type: _, time: __, ...rest }: ServerEvent): string {
  const { text, message } = rest
  return String(text ?? message ?? JSON.stringify(rest))
}
