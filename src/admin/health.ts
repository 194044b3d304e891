/** `/health` while the process lives, `/ready` while it takes traffic, `/metrics`. */
import type { FastifyInstance } from "fastify"
import type { AdminContext } from "./context.ts"
import { sendProblem } from "./problem.ts"

export function addHealth(app: FastifyInstance, { gateway, metrics }: AdminContext): void {
  app.get("/health", { schema: { summary: "200 while the process is alive", tags: ["health"] } }, async () => ({
    status: "alive",
  }))

  app.get(
    "/ready",
    { schema: { summary: "200 when listening and not draining", tags: ["health"] } },
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

  app.get("/metrics", { schema: { summary: "Prometheus text", tags: ["health"] } }, async (_, reply) => {
    return reply.type(metrics.contentType).send(await metrics.render())
  })
}
