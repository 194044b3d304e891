/** `rateLimits` with its defaults and secrets. */
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import type { NormalizedRateLimits } from "./normalized-sharing.ts"
import type { ConfigData, SecretData } from "./schema/index.ts"

export function normalizeRateLimits(
  given: ConfigData["rateLimits"],
  context: NormalizeContext,
): NormalizedRateLimits | null {
  if (given === undefined) return null
  const { redis, nats, channel = "tidegate.limits", intervalMs = 100 } = given
  if ((redis === undefined) === (nats === undefined)) context.report(["rateLimits"], 'say either "redis" or "nats"')
  const kind = redis === undefined ? "nats" : "redis"
  const secret = (held: SecretData | undefined, name: string): string | null =>
    held === undefined ? null : readSecret(held, ["rateLimits", kind, name], context)
  return {
    kind,
    url: secret(redis?.url, "url") ?? nats?.servers ?? "",
    user: nats?.user ?? null,
    password: secret(nats?.password, "password"),
    token: secret(nats?.token, "token"),
    channel,
    intervalMs,
  }
}
