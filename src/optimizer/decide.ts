/**
 * What to do about one upstream's limit: pure, from a look, the goals and what was tried last.
 *
 * Where a goal is missed, fewer requests at the same time may help: the limit goes a step below
 * what is under way. Where all goals are met and the limit is what holds requests back, it goes a
 * step up. Every change is a trial: the next look says whether it helped, or takes it back.
 */
import type { NormalizedGoals } from "../config/index.ts"
import type { UpstreamLook } from "../model/optimizer.ts"

export type Decision =
  | { readonly kind: "hold"; readonly reason: string }
  /** Too little was seen to say anything: what was proposed stays. */
  | { readonly kind: "wait"; readonly reason: string }
  /** The last change was no good. */
  | { readonly kind: "undo"; readonly reason: string }
  | { readonly kind: "change"; readonly to: number; readonly reason: string }

/** The last applied change, until a look has judged it. */
export interface Trial {
  readonly from: number
  readonly to: number
  /** What was seen when it was decided. */
  readonly before: UpstreamLook
}

export interface Situation {
  readonly goals: NormalizedGoals
  readonly limit: number
  readonly look: UpstreamLook
  readonly trial: Trial | null
  /** Looks for which a direction rests, since it was tried in vain. */
  readonly resting: Readonly<Record<Direction, number>>
  readonly minRequests: number
  readonly stepPercent: number
}

export type Direction = "up" | "down"

/** Less than this share is noise, not a gain. */
const GAIN = 0.05

export function decide(situation: Situation): Decision {
  const { goals, look, trial, minRequests } = situation
  if (look.requests < minRequests) {
    const reason = `${look.requests} requests say nothing; from ${minRequests} on they are looked at`
    return { kind: "wait", reason }
  }
  const missed = missedGoal(goals, look)
  if (trial !== null && isInVain(trial, look, missed)) {
    const what = trial.to > trial.from ? `then ${missed}` : "it did not help"
    return { kind: "undo", reason: `${trial.from} became ${trial.to}, ${what}` }
  }
  return missed === null ? upwards(situation) : downwards(situation, missed)
}

/** Which goal is missed, in words; null: none. */
function missedGoal({ errorRate, p99Ms }: NormalizedGoals, look: UpstreamLook): string | null {
  if (errorRate !== null && look.errorRate > errorRate)
    return `${percent(look.errorRate)} errors are above ${percent(errorRate)}`
  if (p99Ms !== null && look.p99Ms !== null && look.p99Ms > p99Ms)
    return `p99 of ${round(look.p99Ms)} ms is above ${round(p99Ms)} ms`
  return null
}

/** More requests that made a goal missed, or fewer that made nothing better. */
function isInVain({ from, to, before }: Trial, look: UpstreamLook, missed: string | null): boolean {
  if (missed === null) return false
  if (to > from) return true
  const errors = look.errorRate < before.errorRate * (1 - GAIN)
  const latency = look.p99Ms !== null && before.p99Ms !== null && look.p99Ms < before.p99Ms * (1 - GAIN)
  return !errors && !latency
}

function downwards({ goals, limit, look, resting, stepPercent }: Situation, missed: string): Decision {
  if (limit <= goals.min) return hold(`${missed}, and the limit is ${limit}, its least`)
  // A limit above what is under way holds nothing back: the step is from there.
  const effective = Math.min(limit, Math.ceil(look.inFlight))
  const to = Math.floor(effective * (1 - stepPercent / 100))
  if (to < goals.min && effective <= goals.min)
    return hold(`${missed}, with ${round(look.inFlight)} requests at the same time: a limit would not help`)
  if (resting.down > 0) return hold(`${missed}; fewer requests at the same time did not help before`)
  return { kind: "change", to: Math.max(goals.min, Math.min(to, limit - 1)), reason: missed }
}

function upwards({ goals, limit, look, resting, stepPercent }: Situation): Decision {
  const load = look.inFlight / limit
  if (look.turnedAway === 0 && load <= goals.load) return hold("all goals are met")
  const tight =
    look.turnedAway > 0
      ? `${look.turnedAway} requests were turned away`
      : `the load of ${percent(load)} is above ${percent(goals.load)}`
  if (limit >= goals.max) return hold(`${tight}, and the limit is ${limit}, its most`)
  if (resting.up > 0) return hold(`${tight}; more requests at the same time were too many before`)
  const to = Math.min(goals.max, Math.max(limit + 1, Math.floor(limit * (1 + stepPercent / 100))))
  return { kind: "change", to, reason: `${tight} while all goals are met` }
}

function hold(reason: string): Decision {
  return { kind: "hold", reason }
}

function percent(share: number): string {
  return `${round(share * 100)} %`
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}
