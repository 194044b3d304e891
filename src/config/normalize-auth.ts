/** `auth`: who may come in and what they may do, from checked data to the plan. */
import type { AccessPlan, JwtPlan, UserPlan } from "../native/index.ts"
import type { Path } from "./path.ts"
import type { ConfigData, SecretData } from "./schema/index.ts"
import { resolveSecret } from "./secrets.ts"

/** Where relative paths start, and where secrets that are not there are reported. */
export interface NormalizeContext {
  readonly folder: string
  readonly report: (path: Path, message: string) => void
}

const SCRAM = /^SCRAM-SHA-256\$[1-9][0-9]*:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/

export function normalizeAuth(auth: ConfigData["auth"], context: NormalizeContext): AccessPlan {
  const users = Object.entries(auth?.users ?? {}).map(([name, given]) => normalizeUser(name, given, context))
  const acl = (auth?.acl ?? []).map(({ user, clientId, allow, deny, topic }) => {
    return {
      user: user ?? null,
      clientId: clientId ?? null,
      action: allow ?? deny ?? "all",
      topic,
      allow: allow !== undefined,
    }
  })
  const { upstream, path = "/auth", timeoutMs = 1_000, cacheS = 60 } = auth?.http ?? {}
  return {
    users,
    superusers: auth?.superusers ?? [],
    jwt: auth?.jwt === undefined ? null : normalizeJwt(auth.jwt, context),
    http: upstream === undefined ? null : { upstream, path, timeoutMs, cacheS },
    acl,
  }
}

function normalizeJwt(jwt: NonNullable<AuthData["jwt"]>, context: NormalizeContext): JwtPlan {
  const { secret, publicKey, jwks, issuer = null, audience = null, userClaim = "sub", aclClaim = "acl" } = jwt
  const given = [
    { kind: "secret", held: secret, name: "secret" },
    { kind: "pem", held: publicKey, name: "publicKey" },
    { kind: "jwks", held: jwks, name: "jwks" },
  ] as const
  const keys = given.flatMap(({ kind, held, name }) =>
    held === undefined ? [] : [{ kind, text: readSecret(held, ["auth", "jwt", name], context) }],
  )
  if (keys.length === 0) context.report(["auth", "jwt"], 'needs "secret", "publicKey" or "jwks"')
  return { keys, issuer, audience, userClaim, aclClaim }
}

type AuthData = NonNullable<ConfigData["auth"]>
type UserData = NonNullable<AuthData["users"]>[string]

function normalizeUser(name: string, given: UserData, context: NormalizeContext): UserPlan {
  const path = ["auth", "users", name]
  const isPair = typeof given === "object" && ("password" in given || "scram" in given)
  const { password, scram } = (isPair ? given : { password: given }) as { password?: SecretData; scram?: SecretData }
  const hash = password === undefined ? null : readSecret(password, path, context)
  if (hash !== null && !hash.startsWith("$argon2id$")) {
    context.report(path, "is no argon2id hash; make one with: tidegate passwd")
  }
  const verifier = scram === undefined ? null : readSecret(scram, path, context)
  if (verifier !== null && !SCRAM.test(verifier)) {
    context.report(path, "scram is no SCRAM-SHA-256 verifier; make one with: tidegate passwd --scram")
  }
  return { name, hash, scram: verifier }
}

/** A secret's value; one that is not there is reported. */
export function readSecret(given: SecretData, path: Path, { folder, report }: NormalizeContext): string {
  const found = resolveSecret(given, folder)
  if ("value" in found) return found.value
  report(path, found.fault)
  return ""
}
