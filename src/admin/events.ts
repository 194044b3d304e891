/** `/v1/events`: what happens in the gateway, as server-sent events. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import type { GatewayEventType } from "../model/gateway-event.ts"
import { EVENTS } from "./answers.ts"
import type { AdminContext } from "./context.ts"
import { openEventStream } from "./sse.ts"

const TYPES = [
  "access",
  "connection-opened",
  "connection-closed",
  "endpoint",
  "log",
  "applied",
  "refused",
  "policy-thread",
  "alert",
  "audit",
] as const satisfies readonly GatewayEventType[]

const Query = Type.Object({
  type: Type.Optional(Type.Union([Type.Enum([...TYPES]), Type.Array(Type.Enum([...TYPES]))])),
})

export function addEvents(app: FastifyInstance, { gateway }: AdminContext): void {
  app.get<{ Querystring: Static<typeof Query> }>(
    "/v1/events",
    {
      schema: {
        querystring: Query,
        response: EVENTS,
        tags: ["events"],
        summary: "gateway events; all types unless some are named",
      },
    },
    (request, reply) => {
      const types = request.query.type === undefined ? TYPES : [request.query.type].flat()
      openEventStream(request, reply, (stream) => {
        const stops = types.map((type) => gateway.on(type, (event) => stream.send(type, event)))
        return () => {
          for (const stop of stops) stop()
        }
      })
    },
  )
}
