/** The admin API: fastify with one file per group of routes. */
import { readFileSync } from "node:fs"
import swagger from "@fastify/swagger"
import { Ajv, type ValidateFunction } from "ajv"
import Fastify, { type FastifyInstance } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import type { ServerTlsPlan } from "../native/index.ts"
import { inTurns, parseTurns } from "../turns.ts"
import { addAlerts } from "./alerts.ts"
import { REFUSED } from "./answers.ts"
import { addAudit } from "./audit.ts"
import { addCache } from "./cache.ts"
import { addConfig } from "./config.ts"
import { addConnections } from "./connections.ts"
import type { AdminContext } from "./context.ts"
import { addEvents } from "./events.ts"
import { createGrpc, type Handler } from "./grpc/index.ts"
import { createGuard, createJudge } from "./guard.ts"
import { addHealth } from "./health.ts"
import { createMethods } from "./methods.ts"
import { addMqtt } from "./mqtt.ts"
import { addOptimizer } from "./optimizer.ts"
import { addPage } from "./page.ts"
import { addPolicies } from "./policies.ts"
import { createErrorHandler, sendProblem } from "./problem.ts"
import { addRoutes } from "./routes.ts"
import { createAdminServer } from "./server.ts"
import { addServices } from "./services.ts"
import { addStats } from "./stats.ts"
import { addUpstreams } from "./upstreams.ts"

/** Enough for a configuration of 10,000 routes, too little to hurt. */
const MAX_BODY = 16 * 1024 * 1024

/** They have types: checking them against the schema of schemas would be a fifth of the start. */
const OWN_SCHEMAS = { meta: false, validateSchema: false } as const

/** What came in an address is text and becomes what the schema asks for; what came as JSON has its type. */
const VALIDATORS = {
  text: new Ajv({ ...OWN_SCHEMAS, coerceTypes: "array", useDefaults: true }),
  json: new Ajv({ ...OWN_SCHEMAS, useDefaults: true }),
}

/** What Fastify asks: with `false`, why is read from it. */
type FastifyValidator = Pick<ValidateFunction, "errors"> & ((data: unknown) => boolean)

/** Longer ones are parsed in turns. */
const LONG_BODY = 64 * 1024

/** A client id of MQTT may be long; a request's head bounds it. */
const MAX_PARAM = 16 * 1024

/** The audit log comes first: its hook sees the calls of those behind it. */
const GROUPS = [
  addAudit,
  addHealth,
  addServices,
  addConnections,
  addUpstreams,
  addRoutes,
  addConfig,
  addMqtt,
  addCache,
  addPolicies,
  addStats,
  addAlerts,
  addOptimizer,
  addEvents,
  addPage,
]

/** The app, ready for `listen` or `inject`. */
export async function createAdminApp(
  admin: Omit<NormalizedAdmin, "port">,
  context: AdminContext,
): Promise<FastifyInstance> {
  const judge = createJudge(admin)
  let end = (): void => undefined
  const tls = admin.tls === null ? null : serverTls(admin.tls)
  const app = Fastify({
    bodyLimit: MAX_BODY,
    // For the address it tells; the server is ours.
    ...(tls !== null && { https: tls }),
    serverFactory: (rest) => {
      // Fastify takes the requests of both versions, whatever its types say.
      const handler = createGrpc(context, judge, rest as Handler)
      const made = createAdminServer(handler, tls)
      end = made.end
      return made.server
    },
    routerOptions: { maxParamLength: MAX_PARAM },
  })
  app.addHook("preClose", async () => end())
  app.setValidatorCompiler(({ schema, httpPart }) =>
    validator(VALIDATORS[httpPart === "body" ? "json" : "text"], schema),
  )
  // The schemas of answers are what the document says of them, not what is let through.
  app.setSerializerCompiler(() => JSON.stringify)
  addJsonParser(app)
  app.decorateRequest("caller", null)
  app.addHook("onRequest", createGuard(judge))
  app.addHook("onSend", async (_, reply) => {
    reply.header("x-content-type-options", "nosniff").header("cache-control", "no-store")
  })
  app.setErrorHandler(createErrorHandler((text) => context.gateway.warn(text)))
  const methods = createMethods(app)
  app.setNotFoundHandler((request, reply) => {
    const served = methods(request.url)
    if (served.length === 0) return sendProblem(reply, 404, `${request.url} is not served here`)
    return sendProblem(
      reply.header("allow", served.join(", ")),
      405,
      `${request.method} is not one of ${served.join(", ")}`,
    )
  })
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Tidegate admin API", version: "1" },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      // Without a token where the gateway asks for none, or for a certificate.
      security: [{}, { token: [] }],
    },
  })
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger())
  await app.register(async (scope) => {
    scope.addHook("onRoute", ({ schema }) => {
      if (schema?.response !== undefined) schema.response = { ...schema.response, ...REFUSED }
    })
    for (const add of GROUPS) add(scope, context)
  })
  await app.ready()
  return app
}

/** Compiled with its first call: a start does not wait for the checks of calls that may never come. */
function validator(ajv: Ajv, schema: object): FastifyValidator {
  let check: ValidateFunction | undefined
  const validate: FastifyValidator = (data) => {
    check ??= ajv.compile(schema)
    const isValid = check(data)
    validate.errors = check.errors
    return isValid
  }
  return validate
}

/** Read at the start; a change of the files needs a restart, as that of the address does. */
function serverTls({ certificates, minVersion, clientAuth }: ServerTlsPlan) {
  const [pair] = certificates
  return {
    cert: pair === undefined ? "" : readFileSync(pair.cert),
    key: pair === undefined ? "" : readFileSync(pair.key),
    minVersion: minVersion === "1.3" ? ("TLSv1.3" as const) : ("TLSv1.2" as const),
    ...(clientAuth !== null && {
      ca: clientAuth.ca.map((file) => readFileSync(file)),
      crl: clientAuth.crl.map((file) => readFileSync(file)),
      requestCert: true,
      rejectUnauthorized: clientAuth.mode === "require",
    }),
  }
}

/**
 * `curl -X POST -H content-type:application/json` without a body is no fault of anybody, and a configuration of
 * 100,000 routes no reason to keep everybody waiting.
 */
function addJsonParser(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error")
  // Also of text: nothing is read from it, so that it is 415 like any other.
  app.removeContentTypeParser(["application/json", "text/plain"])
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    const text = body.toString()
    if (text.length === 0) return done(null, null)
    // What the parser of fastify has to look at, it looks at.
    if (text.length <= LONG_BODY || /__proto__|constructor|\\u/.test(text)) return parse(request, text, done)
    inTurns(parseTurns(text)).then(
      (data) => done(null, data),
      () => parse(request, text, done),
    )
  })
}
