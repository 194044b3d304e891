/** A wait that the signal ends. */
import { setTimeout as delay } from "node:timers/promises"

export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined)
}
