/**
 * Versions in shadow: run behind the answer of the one that decides, when the batch is done, so that nobody
 * waits for them. What they say is compared and told in bundles; it never reaches a message.
 */
import { messageOf } from "../errors.ts"
import type { PolicyMessage } from "../model/message.ts"
import type { ShadowCounts, ShadowDifference, ShadowReport } from "../model/shadow.ts"
import { type AnyPolicy, shadowKey } from "../policy/index.ts"
import { ofAnswer, toAnswer } from "./verdict.ts"

/** Messages that wait to be looked at; beyond, they are skipped, counted. */
const QUEUE_MAX = 1_024
/** Differences told with one report. */
const TOLD_MAX = 20
const TELL_MS = 100

interface Case {
  readonly policy: AnyPolicy
  readonly options: Readonly<Record<string, unknown>>
  readonly message: PolicyMessage
  /** The answer that holds. */
  readonly verdict: string
}

interface Open {
  readonly policy: string
  readonly counts: Counts
  readonly differences: ShadowDifference[]
}

type Counts = { -readonly [K in keyof ShadowCounts]: number }

export class Shadows {
  readonly #tell: (report: ShadowReport) => void
  #queue: Case[] = []
  #open = new Map<string, Open>()
  #timer: NodeJS.Timeout | null = null

  constructor(tell: (report: ShadowReport) => void) {
    this.#tell = tell
  }

  add(given: Case): void {
    if (this.#queue.length >= QUEUE_MAX) return this.#count(given.policy, "skipped")
    this.#queue.push(given)
    if (this.#queue.length === 1) setImmediate(() => this.#work())
  }

  #work(): void {
    const queue = this.#queue
    this.#queue = []
    for (const one of queue) this.#look(one)
  }

  #look(one: Case): void {
    const { policy, options, message } = one
    try {
      const value = policy.shadow?.decide(message, options)
      if (!(value instanceof Promise)) return this.#compare(one, value)
      value.then(
        (later) => this.#compare(one, later),
        (error: unknown) => this.#failed(one, error),
      )
    } catch (error) {
      this.#failed(one, error)
    }
  }

  #compare(one: Case, value: unknown): void {
    try {
      const shadow = toAnswer(value)
      if (shadow === one.verdict) return this.#count(one.policy, "same")
      this.#count(one.policy, "differs", differenceOf(one, JSON.parse(ofAnswer(shadow), withoutKeys), null))
    } catch (error) {
      this.#failed(one, error)
    }
  }

  #failed(one: Case, error: unknown): void {
    this.#count(one.policy, "error", differenceOf(one, null, messageOf(error)))
  }

  #count(policy: AnyPolicy, outcome: keyof ShadowCounts, difference?: ShadowDifference): void {
    const key = shadowKey(policy)
    const counts = { same: 0, differs: 0, error: 0, skipped: 0 }
    const open = this.#open.get(key) ?? { policy: policy.name, counts, differences: [] }
    open.counts[outcome]++
    if (difference !== undefined && open.differences.length < TOLD_MAX) open.differences.push(difference)
    this.#open.set(key, open)
    this.#timer ??= setTimeout(() => this.#flush(), TELL_MS).unref()
  }

  #flush(): void {
    this.#timer = null
    const open = this.#open
    this.#open = new Map()
    for (const [key, report] of open) this.#tell({ key, ...report })
  }
}

function differenceOf({ message, verdict }: Case, shadow: unknown, error: string | null): ShadowDifference {
  const { protocol, method, host, path, topic, clientId } = message
  const seen = { protocol, method, host, path, topic, clientId }
  return {
    at: Date.now(),
    message: seen,
    verdict: JSON.parse(ofAnswer(verdict), withoutKeys) as unknown,
    shadow,
    error,
  }
}

/** What is told says that there is a key, not which. */
function withoutKeys(name: string, value: unknown): unknown {
  return name === "psk" ? "(a key)" : value
}
