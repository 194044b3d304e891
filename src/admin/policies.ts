/** `/v1/policies`: each policy with its calls, and what its version in shadow came to. */
import type { FastifyInstance } from "fastify"
import { items, POLICY } from "./answers.ts"
import type { AdminContext } from "./context.ts"

export function addPolicies(app: FastifyInstance, { gateway, metrics }: AdminContext): void {
  const summary = "policies with their versions and calls; where a version in shadow differs, and the last differences"
  const schema = { response: { 200: items(POLICY) }, tags: ["policies"], summary }
  app.get("/v1/policies", { schema }, async () => {
    const counted = metrics.snapshot().policies
    const items = gateway.stats().policies.map((info) => {
      const { calls = {}, seconds = 0 } = counted.find(({ policy }) => policy === info.name) ?? {}
      return { ...info, calls, seconds }
    })
    return { items }
  })
}
