/** `/v1/cache`: answers of upstreams that are kept; away with them. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import type { AdminContext } from "./context.ts"

const Which = Type.Object(
  {
    route: Type.Optional(Type.String({ minLength: 1, description: "of this route" })),
    host: Type.Optional(Type.String({ minLength: 1, description: "to this authority, as clients write it" })),
    path: Type.Optional(
      Type.String({ pattern: "^/", description: "to this path; with a star at its end to all that begin so" }),
    ),
  },
  { additionalProperties: false },
)

export function addCache(app: FastifyInstance, { gateway }: AdminContext): void {
  app.delete<{ Querystring: Static<typeof Which> }>(
    "/v1/cache",
    {
      schema: {
        querystring: Which,
        response: { 200: Type.Object({ removed: Type.Integer({ minimum: 0 }) }) },
        tags: ["cache"],
        summary: "remove kept answers; without a query all of them",
      },
    },
    async ({ query }) => ({ removed: gateway.native.purgeCache(JSON.stringify(query)) }),
  )
}
