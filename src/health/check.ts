/** What a health check is: one question, answered with passed or not; it never throws. */
import type { NormalizedHealth } from "../config/index.ts"
import type { Endpoint } from "../model/service.ts"
import type { HealthCheckDefinition } from "../policy/index.ts"

/** `custom`: the function that the configuration names, where it does. */
export type Check = (
  endpoint: Endpoint,
  health: NormalizedHealth,
  custom: HealthCheckDefinition | null,
) => Promise<boolean>
