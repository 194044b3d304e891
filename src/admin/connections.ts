/** `/v1/connections`: the connection table, and an end to one of them. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { CONNECTION, items, NOTHING } from "./answers.ts"
import { type AdminContext, parsed } from "./context.ts"
import { sendProblem } from "./problem.ts"

const Query = Type.Object({
  protocol: Type.Optional(Type.String({ maxLength: 32 })),
  state: Type.Optional(Type.Enum(["active", "idle", "closing"])),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
  cursor: Type.Optional(Type.String({ maxLength: 256 })),
})
const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const tags = ["connections"]

export function addConnections(app: FastifyInstance, { gateway }: AdminContext): void {
  app.get<{ Querystring: Static<typeof Query> }>(
    "/v1/connections",
    { schema: { querystring: Query, response: { 200: items(CONNECTION, true) }, tags, summary: "open connections" } },
    async ({ query }) => parsed(await gateway.native.connections(JSON.stringify({ limit: 100, ...query }))),
  )

  app.delete<{ Params: Static<typeof Id> }>(
    "/v1/connections/:id",
    { schema: { params: Id, response: NOTHING, tags, summary: "close one with its protocol's goodbye" } },
    async ({ params }, reply) => {
      const found = await gateway.native.closeConnection(params.id)
      return found ? reply.status(204).send() : sendProblem(reply, 404, `no connection "${params.id}"`)
    },
  )
}
