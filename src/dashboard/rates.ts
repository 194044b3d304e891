/** Rates between two looks, and the last minutes of them for the plots. */
import type { Stats } from "./shapes.ts"

/** One point per look: two minutes at a look a second. */
const POINTS = 120

/** Per second since the look before; `value` picks the total. */
export function rate(before: Stats | null, now: Stats, value: (stats: Stats) => number): number {
  const seconds = before === null ? 0 : (now.at - before.at) / 1_000
  // A total that fell means that the gateway was started again.
  return before === null || seconds <= 0 ? 0 : Math.max(0, value(now) - value(before)) / seconds
}

export interface Series {
  readonly times: readonly number[]
  /** By protocol, requests or messages per second. */
  readonly byProtocol: Readonly<Record<string, readonly number[]>>
}

export const NO_SERIES: Series = { times: [], byProtocol: {} }

/** The series with one more look. */
export function extend(series: Series, before: Stats | null, now: Stats): Series {
  if (before === null || before.at === now.at) return series
  const times = [...series.times, now.at / 1_000].slice(-POINTS)
  const byProtocol = Object.fromEntries(
    now.protocols.map(({ protocol }) => {
      const known = series.byProtocol[protocol] ?? series.times.map(() => 0)
      return [protocol, [...known, rate(before, now, (stats) => work(stats, protocol))].slice(-POINTS)]
    }),
  )
  return { times, byProtocol }
}

/** What a protocol has done: requests for those that have them, else messages. */
export function work(stats: Stats, name: string): number {
  const row = stats.protocols.find(({ protocol }) => protocol === name)
  return row === undefined ? 0 : row.requests > 0 ? row.requests : row.messagesIn + row.messagesOut
}
