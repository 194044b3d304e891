/** The schema of `auth`: who may come in, and what they may do. */
import Type from "typebox"
import { Exact, Secret } from "./values.ts"

const Action = Type.Enum(["publish", "subscribe", "all"])

const AclRuleSchema = Exact({
  user: Type.Optional(Type.String({ minLength: 1 })),
  clientId: Type.Optional(Type.String({ minLength: 1 })),
  allow: Type.Optional(Action),
  deny: Type.Optional(Action),
  topic: Type.String({ minLength: 1, description: "filter; %u and %c stand for user and client id" }),
})

export const AuthSchema = Exact({
  users: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Union([Secret, Exact({ password: Type.Optional(Secret), scram: Type.Optional(Secret) })]),
      { description: "name to the argon2id hash that `tidegate passwd` prints, or to that and a SCRAM verifier" },
    ),
  ),
  database: Type.Optional(
    Exact({
      file: Type.String({ minLength: 1, description: "SQLite" }),
      table: Type.Optional(
        Type.String({ minLength: 1, default: "users", description: "name, password, scram, superuser, acl" }),
      ),
    }),
  ),
  superusers: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), { description: "users to whom everything is allowed" }),
  ),
  jwt: Type.Optional(
    Exact({
      secret: Type.Optional(Secret),
      publicKey: Type.Optional(Secret),
      jwks: Type.Optional(Secret),
      issuer: Type.Optional(Type.String({ minLength: 1 })),
      audience: Type.Optional(Type.String({ minLength: 1 })),
      userClaim: Type.Optional(Type.String({ minLength: 1, default: "sub" })),
      aclClaim: Type.Optional(Type.String({ minLength: 1, default: "acl" })),
    }),
  ),
  http: Type.Optional(
    Exact({
      upstream: Type.String({ minLength: 1 }),
      path: Type.Optional(Type.String({ pattern: "^/", default: "/auth" })),
      timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 60_000, default: 1_000 })),
      cacheS: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400, default: 60 })),
    }),
  ),
  acl: Type.Optional(Type.Array(AclRuleSchema, { description: "first match decides; empty: everything is allowed" })),
})
