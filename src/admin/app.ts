/** The admin API: fastify with one file per group of routes. */
import swagger from "@fastify/swagger"
import Fastify, { type FastifyInstance } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import { addAlerts } from "./alerts.ts"
import { addConfig } from "./config.ts"
import { addConnections } from "./connections.ts"
import type { AdminContext } from "./context.ts"
import { addEvents } from "./events.ts"
import { createGuard } from "./guard.ts"
import { addHealth } from "./health.ts"
import { addMqtt } from "./mqtt.ts"
import { addPage } from "./page.ts"
import { createErrorHandler, sendProblem } from "./problem.ts"
import { addRoutes } from "./routes.ts"
import { addServices } from "./services.ts"
import { addStats } from "./stats.ts"
import { addUpstreams } from "./upstreams.ts"

/** Enough for a configuration of 10,000 routes, too little to hurt. */
const MAX_BODY = 16 * 1024 * 1024

const GROUPS = [
  addHealth,
  addServices,
  addConnections,
  addUpstreams,
  addRoutes,
  addConfig,
  addMqtt,
  addStats,
  addAlerts,
  addEvents,
  addPage,
]

/** The app, ready for `listen` or `inject`. */
export async function createAdminApp(
  admin: Pick<NormalizedAdmin, "host" | "token" | "hosts">,
  context: AdminContext,
): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: MAX_BODY,
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false } },
  })
  allowEmptyJson(app)
  app.addHook("onRequest", createGuard(admin))
  app.addHook("onSend", async (_, reply) => {
    reply.header("x-content-type-options", "nosniff").header("cache-control", "no-store")
  })
  app.setErrorHandler(createErrorHandler((text) => context.gateway.warn(text)))
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, 404, `${request.method} ${request.url} is not served here`),
  )
  await app.register(swagger, {
    openapi: { openapi: "3.1.0", info: { title: "Tidegate admin API", version: "1" } },
  })
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger())
  await app.register(async (scope) => {
    for (const add of GROUPS) add(scope, context)
  })
  await app.ready()
  return app
}

/** `curl -X POST -H content-type:application/json` without a body is no fault of anybody. */
function allowEmptyJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error")
  app.removeContentTypeParser("application/json")
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body.length === 0) done(null, null)
    else parse(request, body.toString(), done)
  })
}
