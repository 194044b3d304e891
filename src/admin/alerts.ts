/** `/v1/alerts`: each rule, whether it fires and since when. */
import type { FastifyInstance } from "fastify"
import type { AdminContext } from "./context.ts"

export function addAlerts(app: FastifyInstance, { gateway }: AdminContext): void {
  const schema = { tags: ["alerts"], summary: "alerts with their state: quiet, pending, firing" }
  app.get("/v1/alerts", { schema }, async () => ({ items: gateway.stats().alerts }))
}
