/** `/health` while the process lives, `/ready` while it takes traffic, `/metrics`. */
import type { FastifyInstance } from "fastify"
import Type from "typebox"
import { content } from "./answers.ts"
import type { AdminContext } from "./context.ts"
import { sendProblem } from "./problem.ts"

export function addHealth(app: FastifyInstance, { gateway, metrics }: AdminContext): void {
  const tags = ["health"]
  const alive = { 200: Type.Object({ status: Type.Literal("alive") }) }
  app.get("/health", { schema: { response: alive, tags, summary: "200 while the process is alive" } }, async () => ({
    status: "alive",
  }))

  app.get(
    "/ready",
    {
      schema: {
        response: { 200: Type.Object({ status: Type.Literal("ready"), version: Type.Integer({ minimum: 1 }) }) },
        tags,
        summary: "200 when listening and not draining",
      },
    },
    async (_, reply) => {
      const { state, version } = gateway.stats()
      if (state === "running" && version > 0) return { status: "ready", version }
      return sendProblem(
        reply.header("retry-after", "1"),
        503,
        `the gateway is ${state === "running" ? "starting" : state}`,
      )
    },
  )

  const text = { 200: content(metrics.contentType, "the exposition format of Prometheus") }
  app.get("/metrics", { schema: { response: text, tags, summary: "Prometheus text" } }, async (_, reply) => {
    return reply.type(metrics.contentType).send(await metrics.render())
  })
}
