/** What the harness counts; see kill.mjs. */
export interface KillResult {
  readonly acknowledged: number
  readonly lost: number
  readonly qos2Duplicates: number
  readonly qos1Duplicates: number
  readonly reordered: number
  readonly examples: readonly string[]
}

export function killAgainAndAgain(options: {
  readonly kills: number
  readonly workers?: number
  readonly durability?: "process" | "power"
  readonly moves?: boolean
  readonly note?: (text: string) => void
}): Promise<KillResult>
