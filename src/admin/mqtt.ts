/** `/v1/mqtt`: sessions, retained messages, and what passes. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { topicFilterFault } from "../route/index.ts"
import { CLIENT, EVENTS, items, NOTHING, RETAINED } from "./answers.ts"
import { type AdminContext, parsed } from "./context.ts"
import { sendProblem } from "./problem.ts"
import { openEventStream } from "./sse.ts"

/** Of a topic, filter or client id in an address: a request's head has room for no more, encoded. */
const MAX_TEXT = 4_096

const ClientsQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 100 })),
  cursor: Type.Optional(Type.String({ maxLength: MAX_TEXT })),
})
const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: MAX_TEXT }) })
const RetainedQuery = Type.Object({
  filter: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_TEXT, default: "#" })),
})
const TraceQuery = Type.Object({
  client: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_TEXT })),
  topic: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_TEXT })),
})
const tags = ["mqtt"]

interface Clients {
  readonly items: readonly { readonly clientId: string }[]
}

export function addMqtt(app: FastifyInstance, { gateway }: AdminContext): void {
  const find = async (clientId: string) => {
    const { items } = JSON.parse(await gateway.native.mqttClients(JSON.stringify({ clientId, limit: 1 }))) as Clients
    return items.find((item) => item.clientId === clientId)
  }

  app.get<{ Querystring: Static<typeof ClientsQuery> }>(
    "/v1/mqtt/clients",
    {
      schema: {
        querystring: ClientsQuery,
        response: { 200: items(CLIENT, true) },
        tags,
        summary: "sessions with queue, in-flight and subscriptions",
      },
    },
    async ({ query }) => parsed(await gateway.native.mqttClients(JSON.stringify({ limit: 100, ...query }))),
  )

  app.get<{ Params: Static<typeof Id> }>(
    "/v1/mqtt/clients/:id",
    { schema: { params: Id, response: { 200: CLIENT }, tags, summary: "one session" } },
    async ({ params }, reply) => (await find(params.id)) ?? sendProblem(reply, 404, `no client "${params.id}"`),
  )

  app.delete<{ Params: Static<typeof Id> }>(
    "/v1/mqtt/clients/:id",
    { schema: { params: Id, response: NOTHING, tags, summary: "end a client's session and connection" } },
    async ({ params }, reply) => {
      if (await gateway.native.kickClient(params.id)) return reply.status(204).send()
      return sendProblem(reply, 404, `no client "${params.id}"`)
    },
  )

  app.get<{ Querystring: Static<typeof RetainedQuery> }>(
    "/v1/mqtt/retained",
    { schema: { querystring: RetainedQuery, response: { 200: items(RETAINED) }, tags, summary: "retained messages" } },
    async ({ query: { filter = "#" } }, reply) => {
      const fault = topicFilterFault(filter)
      if (fault !== null) return sendProblem(reply, 400, fault)
      return parsed(await gateway.native.retained(filter))
    },
  )

  app.get<{ Querystring: Static<typeof TraceQuery> }>(
    "/v1/mqtt/trace",
    {
      schema: {
        querystring: TraceQuery,
        response: EVENTS,
        tags,
        summary: "packets of a client or topic as they come and go, as events",
      },
    },
    (request, reply) => {
      const { client, topic } = request.query
      const fault = topic === undefined ? null : topicFilterFault(topic)
      if (fault !== null) return sendProblem(reply, 400, fault)
      const watch = { ...(client !== undefined && { clientId: client }), ...(topic !== undefined && { topic }) }
      openEventStream(request, reply, (stream) => gateway.trace(watch, (line) => stream.send("packet", line)))
    },
  )
}
