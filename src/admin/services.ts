/** `/v1/services`: register, heartbeat, change, leave, discover, watch. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import type { ServiceSnapshot } from "../model/service.ts"
import { EVENTS, INSTANCE, items, NOTHING, SERVICE } from "./answers.ts"
import type { AdminContext } from "./context.ts"
import { Address, countServices, Heartbeat, Patch, Registration, Service } from "./registration.ts"
import { openEventStream } from "./sse.ts"

const Filter = Type.Object({
  healthy: Type.Optional(Type.Boolean()),
  zone: Type.Optional(Type.String()),
  version: Type.Optional(Type.String()),
})

const tags = ["services"]

/** The JSON of a snapshot, made once for all its watchers. */
const texts = new WeakMap<ServiceSnapshot, string>()

function textOf(snapshot: ServiceSnapshot): string {
  const text = texts.get(snapshot) ?? JSON.stringify(snapshot)
  texts.set(snapshot, text)
  return text
}

export function addServices(app: FastifyInstance, { gateway }: AdminContext): void {
  const at = "/v1/services/:service/instances/:id"

  app.put<{ Params: Static<typeof Address>; Body: Static<typeof Registration> }>(
    at,
    {
      schema: {
        params: Address,
        body: Registration,
        response: { 200: INSTANCE, 201: INSTANCE },
        tags,
        summary: "register or replace an instance",
      },
    },
    async ({ params, body }, reply) => {
      const { instance, created } = gateway.registry.put(params.service, params.id, body)
      return reply.status(created ? 201 : 200).send(instance)
    },
  )

  app.post<{ Params: Static<typeof Address>; Body: Static<typeof Heartbeat> }>(
    `${at}/heartbeat`,
    {
      schema: {
        params: Address,
        body: Heartbeat,
        response: NOTHING,
        tags,
        summary: "a sign of life, with the load where it is known",
      },
      preValidation: async (request) => {
        request.body ??= null
      },
    },
    async ({ params, body }, reply) => {
      gateway.registry.heartbeat(params.service, params.id, body?.load)
      return reply.status(204).send()
    },
  )

  app.patch<{ Params: Static<typeof Address>; Body: Static<typeof Patch> }>(
    at,
    { schema: { params: Address, body: Patch, response: { 200: INSTANCE }, tags, summary: "change an instance" } },
    async ({ params, body }) => gateway.registry.patch(params.service, params.id, body),
  )

  app.delete<{ Params: Static<typeof Address> }>(
    at,
    { schema: { params: Address, response: NOTHING, tags, summary: "forget an instance" } },
    async ({ params }, reply) => {
      gateway.registry.remove(params.service, params.id)
      return reply.status(204).send()
    },
  )

  app.get(
    "/v1/services",
    { schema: { response: { 200: items(SERVICE) }, tags, summary: "all services" } },
    async () => ({ items: countServices(gateway.registry) }),
  )

  app.get<{ Params: Static<typeof Service>; Querystring: Static<typeof Filter> }>(
    "/v1/services/:service/instances",
    {
      schema: {
        params: Service,
        querystring: Filter,
        response: { 200: items(INSTANCE) },
        tags,
        summary: "discover",
      },
    },
    async ({ params, query }) => ({ items: gateway.registry.instances(params.service, query) }),
  )

  app.get<{ Params: Static<typeof Service> }>(
    "/v1/services/:service/watch",
    {
      schema: {
        params: Service,
        response: EVENTS,
        tags,
        summary: "a snapshot, then every change, as server-sent events",
      },
    },
    (request, reply) => {
      const { service } = request.params
      openEventStream(request, reply, (stream) => {
        stream.send("snapshot", gateway.registry.snapshot(service))
        return gateway.registry.follow(service, (snapshot) => stream.sendNewest("change", textOf(snapshot)))
      })
    },
  )
}
