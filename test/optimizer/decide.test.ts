/** What the optimizer decides: without a clock, then against an upstream that queues. */
import test from "ava"
import fc from "fast-check"
import type { UpstreamLook } from "../../src/model/optimizer.ts"
import { type Decision, decide, type Situation } from "../../src/optimizer/index.ts"

const GOOD: UpstreamLook = { requests: 1_000, errorRate: 0, p99Ms: 50, inFlight: 50, turnedAway: 0 }

const SITUATION: Situation = {
  goals: { errorRate: 0.01, p99Ms: 100, load: 0.8, min: 10, max: 200 },
  limit: 100,
  look: GOOD,
  trial: null,
  resting: { up: 0, down: 0 },
  minRequests: 100,
  stepPercent: 20,
}

const of = (look: Partial<UpstreamLook>, rest: Partial<Situation> = {}): Decision =>
  decide({ ...SITUATION, ...rest, look: { ...GOOD, ...look } })

test("where all goals are met and there is room, nothing changes", (t) => {
  t.deepEqual(of({}), { kind: "hold", reason: "all goals are met" })
})

test("few requests say nothing", (t) => {
  t.deepEqual(of({ requests: 99, errorRate: 1 }), {
    kind: "wait",
    reason: "99 requests say nothing; from 100 on they are looked at",
  })
})

test("a missed goal takes a step below what is under way", (t) => {
  t.deepEqual(of({ p99Ms: 250, inFlight: 90 }), {
    kind: "change",
    to: 72,
    reason: "p99 of 250 ms is above 100 ms",
  })
  t.deepEqual(of({ errorRate: 0.025, inFlight: 400 }), {
    kind: "change",
    to: 80,
    reason: "2.5 % errors are above 1 %",
  })
})

test("where hardly anything is under way, a limit is not the cure", (t) => {
  const decision = of({ p99Ms: 900, inFlight: 3.2 })
  t.deepEqual(decision, {
    kind: "hold",
    reason: "p99 of 900 ms is above 100 ms, with 3.2 requests at the same time: a limit would not help",
  })
})

test("a limit that holds requests back goes up while all goals are met", (t) => {
  t.deepEqual(of({ inFlight: 90 }), {
    kind: "change",
    to: 120,
    reason: "the load of 90 % is above 80 % while all goals are met",
  })
  t.deepEqual(of({ turnedAway: 7 }), {
    kind: "change",
    to: 120,
    reason: "7 requests were turned away while all goals are met",
  })
  t.like(of({ turnedAway: 7 }, { limit: 190 }), { kind: "change", to: 200 })
  t.deepEqual(of({ turnedAway: 7 }, { limit: 200 }), {
    kind: "hold",
    reason: "7 requests were turned away, and the limit is 200, its most",
  })
})

test("room that makes a goal missed is taken back, and so is a limit that helped nothing", (t) => {
  const up = { from: 100, to: 120, before: GOOD }
  t.deepEqual(of({ p99Ms: 150 }, { limit: 120, trial: up }), {
    kind: "undo",
    reason: "100 became 120, then p99 of 150 ms is above 100 ms",
  })
  const down = { from: 100, to: 80, before: { ...GOOD, p99Ms: 200 } }
  t.deepEqual(of({ p99Ms: 198 }, { limit: 80, trial: down }), {
    kind: "undo",
    reason: "100 became 80, it did not help",
  })
  t.is(of({ p99Ms: 150, inFlight: 80 }, { limit: 80, trial: down }).kind, "change", "it helped, but not enough")
  t.is(of({ p99Ms: 90, inFlight: 40 }, { limit: 80, trial: down }).kind, "hold", "it helped")
})

test("a direction that was tried in vain rests", (t) => {
  t.is(of({ p99Ms: 250, inFlight: 90 }, { resting: { up: 0, down: 3 } }).kind, "hold")
  t.is(of({ turnedAway: 7 }, { resting: { up: 3, down: 0 } }).kind, "hold")
})

test("whatever is seen, a change moves by a step and stays within its bounds", (t) => {
  const look = fc.record({
    requests: fc.nat(10_000),
    errorRate: fc.double({ min: 0, max: 1, noNaN: true }),
    p99Ms: fc.option(fc.double({ min: 0, max: 10_000, noNaN: true })),
    inFlight: fc.double({ min: 0, max: 5_000, noNaN: true }),
    turnedAway: fc.nat(100),
  })
  fc.assert(
    fc.property(
      look,
      fc.integer({ min: 10, max: 200 }),
      fc.integer({ min: 1, max: 50 }),
      (look, limit, stepPercent) => {
        const decision = decide({ ...SITUATION, look, limit, stepPercent })
        if (decision.kind !== "change") return decision.kind === (look.requests < 100 ? "wait" : "hold")
        const { to } = decision
        const effective = Math.min(limit, Math.ceil(look.inFlight))
        const least = Math.min(limit - 1, Math.floor(effective * (1 - stepPercent / 100)))
        const most = Math.max(limit + 1, Math.floor(limit * (1 + stepPercent / 100)))
        return to !== limit && to >= 10 && to <= 200 && to >= least && to <= most
      },
    ),
  )
  t.pass()
})

/** An upstream that answers `width` requests at once in `serviceMs` each; the others wait their turn. */
function upstream(width: number, serviceMs: number, clients: number) {
  return (limit: number): UpstreamLook => {
    const inFlight = Math.min(clients, limit)
    const p99Ms = serviceMs * Math.max(1, inFlight / width)
    return { requests: 1_000, errorRate: 0, p99Ms, inFlight, turnedAway: clients > limit ? 10 : 0 }
  }
}

test("an upstream with too much to do comes to a limit that meets its goal, and stays near it", (t) => {
  for (const width of [20, 45, 90]) {
    const seen = upstream(width, 40, 1_000)
    let limit = 200
    const limits: number[] = []
    let trial: Situation["trial"] = null
    const resting = { up: 0, down: 0 }
    for (let look = 0; look < 60; look++) {
      const before = seen(limit)
      const decision = decide({ ...SITUATION, limit, look: before, trial, resting })
      resting.up = Math.max(0, resting.up - 1)
      resting.down = Math.max(0, resting.down - 1)
      if (decision.kind === "undo" && trial !== null) {
        resting[trial.to > trial.from ? "up" : "down"] = 10
        limit = trial.from
        trial = null
      } else if (decision.kind === "change") {
        trial = { from: limit, to: decision.to, before }
        limit = decision.to
      } else trial = null
      limits.push(limit)
    }
    // 100 ms are two and a half turns of 40 ms: so many requests may be under way.
    const best = width * 2.5
    const settled = limits.slice(20)
    const within = settled.filter((value) => value <= Math.min(200, best))
    t.true(within.length >= settled.length * 0.8, `${width}: ${limits.join(" ")}`)
    t.true(Math.max(...settled) >= Math.min(200, best * 0.8), `${width}: ${limits.join(" ")}`)
  }
})
