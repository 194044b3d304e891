/** What a policy's version in shadow came to, beside the one that decides. Types only. */

export interface ShadowCounts {
  /** The same verdict. */
  readonly same: number
  readonly differs: number
  /** It threw, or returned no verdict. */
  readonly error: number
  /** More came than could be looked at. */
  readonly skipped: number
}

/** One message of which the two versions say different things; verdicts as the data plane reads them. */
export interface ShadowDifference {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly message: Readonly<Record<"protocol" | "method" | "host" | "path" | "topic" | "clientId", string | null>>
  readonly verdict: unknown
  /** Null: it failed, and `error` says how. */
  readonly shadow: unknown
  readonly error: string | null
}

/** What came since the report before. */
export interface ShadowReport {
  readonly policy: string
  /** The policy with both versions: what another version came to is another account. */
  readonly key: string
  readonly counts: ShadowCounts
  readonly differences: readonly ShadowDifference[]
}

/** A policy with its versions, as the admin API shows it. */
export interface PolicyInfo {
  readonly name: string
  readonly version: string | null
  readonly shadow: (ShadowCounts & { version: string | null; differences: readonly ShadowDifference[] }) | null
}
