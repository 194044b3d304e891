/** `/v1/stats`: the numbers of this moment by protocol, route, upstream and policy. */
import { monitorEventLoopDelay } from "node:perf_hooks"
import type { FastifyInstance } from "fastify"
import { STATS } from "./answers.ts"
import type { AdminContext } from "./context.ts"

/** A look at the event loop every so many milliseconds. */
const LOOP_RESOLUTION_MS = 10

export function addStats(app: FastifyInstance, { gateway, metrics }: AdminContext): void {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  loop.enable()
  app.addHook("onClose", async () => loop.disable())

  const summary = "totals and gauges, as the dashboard and `tidegate top` show them"
  const schema = { response: { 200: STATS }, tags: ["stats"], summary }
  app.get("/v1/stats", { schema }, async () => {
    const { state, version, listeners, applies, eventsDropped } = gateway.stats()
    const { user, system } = process.cpuUsage()
    const lag = Math.max(0, loop.percentile(99) / 1e6 - LOOP_RESOLUTION_MS)
    loop.reset()
    return {
      at: Date.now(),
      state,
      version,
      listeners,
      applies,
      eventsDropped,
      process: {
        uptimeSeconds: process.uptime(),
        residentBytes: process.memoryUsage.rss(),
        cpuSeconds: (user + system) / 1e6,
        eventLoopLagMs: Number.isFinite(lag) ? lag : 0,
      },
      ...metrics.snapshot(),
    }
  })
}
