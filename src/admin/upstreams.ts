/** `/v1/upstreams`: each endpoint with its health, weight and load, each breaker. */
import type { FastifyInstance } from "fastify"
import { items, UPSTREAM } from "./answers.ts"
import type { AdminContext } from "./context.ts"

interface NativeEndpoint {
  readonly id: string
  readonly health: number
}

interface NativeUpstream {
  readonly name: string
  readonly endpoints: readonly NativeEndpoint[]
}

export function addUpstreams(app: FastifyInstance, { gateway }: AdminContext): void {
  const schema = { response: { 200: items(UPSTREAM) }, tags: ["upstreams"], summary: "upstreams and their endpoints" }
  app.get("/v1/upstreams", { schema }, async () => {
    const state = JSON.parse(gateway.native.upstreams()) as readonly NativeUpstream[]
    return {
      items: state.map((upstream) => ({ ...upstream, ...describe(upstream), problem: problemOf(upstream.name) })),
    }
  })

  const problemOf = (name: string): string | null =>
    gateway.plan?.upstreams.find((other) => other.name === name)?.problem ?? null

  /** Health as a word; the share that is left of the weight stays a number. */
  const describe = ({ name, endpoints }: NativeUpstream) => {
    const upstream = gateway.loaded.config.upstreams.find((other) => other.name === name)
    return {
      endpoints: endpoints.map((endpoint) => {
        const checked = upstream === undefined ? "unknown" : gateway.endpoints.status(upstream, endpoint.id)
        const health = checked === "unknown" ? (endpoint.health > 0 ? "unknown" : "unhealthy") : checked
        return { ...endpoint, health, healthShare: endpoint.health }
      }),
    }
  }
}
