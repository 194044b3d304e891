/** What versions in shadow came to since the start: totals, the last differences, and a line in the log where they differ. */
import type { PolicyInfo, ShadowCounts, ShadowDifference, ShadowReport } from "../model/shadow.ts"
import { type Functions, shadowKey } from "../policy/index.ts"

/** Differences kept for each policy. */
const KEPT = 20
/** Pairs of versions that are remembered; the oldest goes first. */
const ROWS_MAX = 256
/** At most a line in that time for each policy. */
const SAY_MS = 1_000

interface Row {
  counts: ShadowCounts
  differences: readonly ShadowDifference[]
  saidAt: number
}

const NONE: Row = { counts: { same: 0, differs: 0, error: 0, skipped: 0 }, differences: [], saidAt: 0 }

export class ShadowBoard {
  readonly #rows = new Map<string, Row>()
  readonly #say: (text: string) => void

  constructor(say: (text: string) => void) {
    this.#say = say
  }

  take({ policy, key, counts, differences }: ShadowReport): void {
    const { counts: before, differences: known, saidAt } = this.#rows.get(key) ?? NONE
    const sum = (outcome: keyof ShadowCounts): number => before[outcome] + counts[outcome]
    const [first] = differences
    const says = first !== undefined && Date.now() - saidAt >= SAY_MS
    if (says) this.#say(textOf(policy, counts, first))
    const [oldest] = this.#rows.keys()
    if (oldest !== undefined && this.#rows.size >= ROWS_MAX && !this.#rows.has(key)) this.#rows.delete(oldest)
    this.#rows.set(key, {
      counts: { same: sum("same"), differs: sum("differs"), error: sum("error"), skipped: sum("skipped") },
      differences: [...known, ...differences].slice(-KEPT),
      saidAt: says ? Date.now() : saidAt,
    })
  }

  /** Every policy of a configuration with its versions. */
  beside({ policies }: Functions): PolicyInfo[] {
    return [...policies.values()].map((policy) => {
      const { name, version = null, shadow } = policy
      const { counts, differences } = this.#rows.get(shadowKey(policy)) ?? NONE
      return {
        name,
        version,
        shadow: shadow === undefined ? null : { version: shadow.version ?? null, ...counts, differences },
      }
    })
  }
}

function textOf(policy: string, { differs, error }: ShadowCounts, first: ShadowDifference): string {
  const { topic, method, path } = first.message
  const about = topic ?? `${method ?? "?"} ${path ?? "?"}`
  const said = first.error === null ? JSON.stringify(first.shadow) : `failed: ${first.error}`
  return `policy "${policy}": its version in shadow differs for ${differs + error}, such as ${about}: ${JSON.stringify(first.verdict)}, in shadow ${said}`
}
