/** What `tidegate top` shows of two looks at a gateway, as text. Pure. */
import type { Durations, Snapshot } from "../model/snapshot.ts"
import { formatTable } from "./table.ts"

/** `/v1/stats`. */
export interface Stats extends Snapshot {
  readonly at: number
  readonly state: string
  readonly version: number
  readonly process: {
    readonly uptimeSeconds: number
    readonly residentBytes: number
    readonly cpuSeconds: number
    readonly eventLoopLagMs: number
  }
}

/** Routes that are shown, by rate. */
const ROUTES_MAX = 10

export function renderTop(before: Stats, now: Stats): string {
  const seconds = Math.max(0.001, (now.at - before.at) / 1_000)
  return [header(before, now, seconds), protocols(before, now, seconds), routes(before, now, seconds)]
    .concat([upstreams(before, now, seconds), drops(before, now, seconds)])
    .filter((part) => part !== "")
    .join("\n\n")
}

function header(before: Stats, now: Stats, seconds: number): string {
  const { uptimeSeconds, residentBytes, cpuSeconds, eventLoopLagMs } = now.process
  const cpu = ((cpuSeconds - before.process.cpuSeconds) / seconds) * 100
  const sessions = Object.entries(now.sessions).map(([state, count]) => `${count} ${state}`)
  return [
    `tidegate ${now.state}, plan ${now.version}, up ${duration(uptimeSeconds)}`,
    `cpu ${cpu.toFixed(0)} %   memory ${bytes(residentBytes)}   event loop lag p99 ${eventLoopLagMs.toFixed(1)} ms`,
    `sessions ${sessions.join(", ") || "none"}   retained ${now.retained}   queued ${now.queued}`,
  ].join("\n")
}

function protocols(before: Stats, now: Stats, seconds: number): string {
  const old = new Map(before.protocols.map((row) => [row.protocol, row]))
  const rows = now.protocols.map((row) => {
    const rate = (key: Exclude<keyof typeof row, "protocol">) =>
      perSecond((row[key] - (old.get(row.protocol)?.[key] ?? 0)) / seconds)
    return [row.protocol, row.connections, rate("accepted"), rate("requests"), rate("messagesIn"), rate("messagesOut")]
  })
  if (rows.length === 0) return "no connection yet"
  return formatTable(["PROTOCOL", "OPEN", "NEW/S", "REQUESTS/S", "MESSAGES IN/S", "OUT/S"], rows)
}

function routes(before: Stats, now: Stats, seconds: number): string {
  const old = new Map(before.routes.map((row) => [row.route, row]))
  const rows = now.routes
    .map((row) => {
      const earlier = old.get(row.route)
      const requests = (row.requests - (earlier?.requests ?? 0)) / seconds
      const errors = (row.errors - (earlier?.errors ?? 0)) / seconds
      const took = (share: number): string => quantile(earlier?.durations ?? null, row.durations, share)
      return { requests, cells: [row.route, perSecond(requests), perSecond(errors), took(0.5), took(0.99)] }
    })
    .sort((a, b) => b.requests - a.requests)
  if (rows.length === 0) return ""
  const shown = rows.slice(0, ROUTES_MAX).map(({ cells }) => cells)
  const rest = rows.length > ROUTES_MAX ? `\n${rows.length - ROUTES_MAX} more` : ""
  return formatTable(["ROUTE", "REQUESTS/S", "5XX/S", "P50", "P99"], shown) + rest
}

function upstreams(before: Stats, now: Stats, seconds: number): string {
  const old = new Map(before.upstreams.map((row) => [row.upstream, row]))
  const rows = now.upstreams.map((row) => {
    const earlier = old.get(row.upstream)
    const requests = perSecond((row.requests - (earlier?.requests ?? 0)) / seconds)
    const errors = perSecond((row.errors - (earlier?.errors ?? 0)) / seconds)
    return [row.upstream, requests, errors, row.active, row.idle, row.breaker ?? "-"]
  })
  if (rows.length === 0) return ""
  return formatTable(["UPSTREAM", "REQUESTS/S", "5XX/S", "ACTIVE", "IDLE", "BREAKER"], rows)
}

function drops(before: Stats, now: Stats, seconds: number): string {
  const keyOf = (row: Stats["drops"][number]): string => `${row.protocol} ${row.reason}`
  const old = new Map(before.drops.map((row) => [keyOf(row), row.count]))
  const rows = now.drops.map((row) => {
    return [row.protocol, row.reason, row.count, perSecond((row.count - (old.get(keyOf(row)) ?? 0)) / seconds)]
  })
  return rows.length === 0 ? "" : formatTable(["DROPPED", "REASON", "TOTAL", "PER S"], rows)
}

/** The bound below which that share of the requests between two looks lies. */
export function quantile(before: Durations | null, now: Durations | null, share: number): string {
  if (now === null) return "-"
  const counts = now.counts.map((count, index) => count - (before?.counts[index] ?? 0))
  const total = now.count - (before?.count ?? 0)
  if (total <= 0) return "-"
  const index = counts.findIndex((count) => count >= share * total)
  const bound = now.bounds[index]
  return bound === undefined ? `> ${millis(now.bounds.at(-1) ?? 0)}` : `< ${millis(bound)}`
}

function millis(seconds: number): string {
  return `${Number((seconds * 1_000).toPrecision(3))} ms`
}

function perSecond(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

function bytes(value: number): string {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${(value / 2 ** 20).toFixed(0)} MiB`
}

function duration(seconds: number): string {
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(Math.floor)
  return days
    ? `${days} d ${hours} h`
    : hours
      ? `${hours} h ${minutes} min`
      : `${minutes} min ${Math.floor(seconds % 60)} s`
}
