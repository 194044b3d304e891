/** `/v1/alerts`: each rule, whether it fires and since when. */
import type { FastifyInstance } from "fastify"
import { ALERT, items } from "./answers.ts"
import type { AdminContext } from "./context.ts"

export function addAlerts(app: FastifyInstance, { gateway }: AdminContext): void {
  const summary = "alerts with their state: quiet, pending, firing"
  const schema = { response: { 200: items(ALERT) }, tags: ["alerts"], summary }
  app.get("/v1/alerts", { schema }, async () => ({ items: gateway.stats().alerts }))
}
