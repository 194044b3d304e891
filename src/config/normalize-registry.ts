/** `registry` with its defaults and secrets. */
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import type { NormalizedRegistry } from "./normalized-sharing.ts"
import type { ConfigData, SecretData } from "./schema/index.ts"

export function normalizeRegistry(given: ConfigData["registry"], context: NormalizeContext): NormalizedRegistry | null {
  const { postgres, nats } = given ?? {}
  if (postgres === undefined && nats === undefined) return null
  const kind = postgres === undefined ? "nats" : "postgres"
  if (postgres !== undefined && nats !== undefined) context.report(["registry"], 'say either "postgres" or "nats"')
  const secret = (held: SecretData | undefined, name: string): string | null =>
    held === undefined ? null : readSecret(held, ["registry", kind, name], context)
  return {
    kind,
    url: secret(postgres?.url, "url") ?? nats?.servers ?? "",
    table: postgres?.table ?? "tidegate_instances",
    bucket: nats?.bucket ?? "tidegate-instances",
    user: nats?.user ?? null,
    password: secret(nats?.password, "password"),
    token: secret(nats?.token, "token"),
  }
}
