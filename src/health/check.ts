/** What a health check is: one question, answered with passed or not; it never throws. */
import type { HostPort, NormalizedHealth } from "../config/index.ts"

export type Check = (address: HostPort, health: NormalizedHealth) => Promise<boolean>
