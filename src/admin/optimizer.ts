/** `/v1/optimizer`: upstreams with goals, what was seen of them; changes to apply and to undo. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { Count, Millis, orNull, Text } from "./answers.ts"
import type { AdminContext } from "./context.ts"

const CHANGE = Type.Object({
  id: Count,
  at: Millis,
  upstream: Text,
  from: Type.Integer({ minimum: 1, description: "maxRequests before" }),
  to: Type.Integer({ minimum: 1, description: "maxRequests after" }),
  reason: Text,
  state: Type.Enum(["proposed", "applied", "undone", "dropped"]),
})

const REPORT = Type.Object({
  mode: Type.Enum(["propose", "apply"]),
  upstreams: Type.Array(
    Type.Object({
      upstream: Text,
      goals: Type.Object({ errorRate: orNull(Type.Number()), p99Ms: orNull(Type.Number()), load: Type.Number() }),
      maxRequests: Type.Object({ configured: Count, now: Count, min: Count, max: Count }),
      seen: orNull(
        Type.Object({
          requests: Count,
          errorRate: Type.Number(),
          p99Ms: orNull(Type.Number()),
          inFlight: Type.Number(),
          turnedAway: Count,
        }),
      ),
      verdict: Text,
    }),
  ),
  made: Type.Record(Type.String(), Count, { description: "changes since the start, by what became of them" }),
  changes: Type.Array(CHANGE, { description: "newest last, at most 100" }),
})

const Change = Type.Object({ id: Type.Integer({ minimum: 1 }) })

const tags = ["optimizer"]

export function addOptimizer(app: FastifyInstance, { gateway }: AdminContext): void {
  const summary = "upstreams with goals, and what the optimizer proposed, applied and took back"
  app.get("/v1/optimizer", { schema: { response: { 200: REPORT }, tags, summary } }, async () => {
    return gateway.stats().optimizer
  })
  const describe = (summary: string) => ({ params: Change, response: { 200: CHANGE }, tags, summary })
  app.post<{ Params: Static<typeof Change> }>(
    "/v1/optimizer/changes/:id/apply",
    { schema: describe("apply a proposal") },
    async ({ params }) => gateway.optimizer.apply(params.id),
  )
  app.post<{ Params: Static<typeof Change> }>(
    "/v1/optimizer/changes/:id/undo",
    { schema: describe("take the last change of an upstream back") },
    async ({ params }) => gateway.optimizer.undo(params.id),
  )
}
