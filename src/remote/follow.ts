/**
 * Follows an async iterator of snapshots for as long as its signal allows: one that fails or
 * ends is begun again after a growing while, and whoever follows keeps what it said last.
 */
import { messageOf } from "../errors.ts"
import { pause } from "./pause.ts"

/** The first wait after a fault; doubled up to the longest. */
const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000

export interface Follow<T> {
  readonly open: () => AsyncIterable<T>
  readonly take: (snapshot: T) => Promise<void> | void
  /** Told each fault, before the wait. */
  readonly failed: (fault: string) => void
  /** No wait after a fault is longer, milliseconds. */
  readonly intervalMs: number
  readonly signal: AbortSignal
}

export async function follow<T>({ open, take, failed, intervalMs, signal }: Follow<T>): Promise<void> {
  const longest = Math.max(FIRST_WAIT_MS, Math.min(intervalMs, LONGEST_WAIT_MS))
  let wait = FIRST_WAIT_MS
  while (!signal.aborted) {
    let fault = "it ended"
    try {
      for await (const snapshot of open()) {
        if (signal.aborted) return
        await take(snapshot)
        wait = FIRST_WAIT_MS
      }
    } catch (error) {
      fault = messageOf(error)
    }
    if (signal.aborted) return
    failed(fault)
    await pause(wait, signal)
    wait = Math.min(wait * 2, longest)
  }
}
