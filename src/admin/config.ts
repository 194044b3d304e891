/** `/v1/config`: what is in force, another one, the versions, the way back. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { type ConfigVersion, redact } from "../config/index.ts"
import { TidegateError } from "../errors.ts"
import type { ConfigDesk } from "../gateway/index.ts"
import { items, VERSION } from "./answers.ts"
import type { AdminContext } from "./context.ts"

const tags = ["config"]
const VersionsQuery = Type.Object({
  data: Type.Optional(Type.Boolean({ description: "with the configuration itself" })),
})

export function addConfig(app: FastifyInstance, { gateway, desk }: AdminContext): void {
  const inForce = { response: { 200: Type.Object({}) }, tags, summary: "the configuration in force, secrets hidden" }
  app.get("/v1/config", { schema: inForce }, async () => {
    return redact(gateway.loaded.config)
  })

  // Any JSON is taken: the configuration's own check says what is wrong with it, all of it.
  const apply = { response: { 200: VERSION }, tags, summary: "check and apply; 422 with every problem" }
  app.put("/v1/config", { schema: apply }, async ({ body }) => {
    return summary(await require(desk).put(body))
  })

  app.get<{ Querystring: Static<typeof VersionsQuery> }>(
    "/v1/config/versions",
    {
      schema: {
        querystring: VersionsQuery,
        response: { 200: items(VERSION) },
        tags,
        summary: "versions that were in force, newest first",
      },
    },
    async ({ query }) => {
      const versions = [...(desk?.versions ?? [])].reverse()
      return {
        items: versions.map((version) => ({
          ...summary(version),
          ...(query.data === true && { data: redact(version.data) }),
        })),
      }
    },
  )

  const back = { response: { 200: VERSION }, tags, summary: "the version before" }
  app.post("/v1/config/rollback", { schema: back }, async () => {
    return summary(await require(desk).rollback())
  })
}

function summary({ version, at, origin, restores }: ConfigVersion) {
  return { version, at, origin, ...(restores !== undefined && { restores }) }
}

function require(desk: ConfigDesk | null): ConfigDesk {
  if (desk !== null) return desk
  throw new TidegateError(
    "NOT_AVAILABLE",
    "the configuration of this gateway belongs to its program; change it with reload()",
  )
}
