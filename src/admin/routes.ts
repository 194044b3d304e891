/** `/v1/routes` and `/v1/explain`: what the gateway does with a request, and why. */
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { EXPLANATION, items, ROUTE } from "./answers.ts"
import { type AdminContext, parsed } from "./context.ts"
import { sendProblem } from "./problem.ts"

const Query = Type.Object({
  method: Type.Optional(Type.String({ maxLength: 32 })),
  url: Type.Optional(Type.String({ maxLength: 8_192 })),
  topic: Type.Optional(Type.String({ maxLength: 4_096 })),
  protocol: Type.Optional(Type.String({ maxLength: 32 })),
  source: Type.Optional(Type.String({ maxLength: 45, description: "the client's address; 127.0.0.1 by default" })),
  header: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())], { description: "Name: value" })),
})
const tags = ["routes"]

export function addRoutes(app: FastifyInstance, { gateway }: AdminContext): void {
  const listed = { response: { 200: items(ROUTE) }, tags, summary: "routes with their status" }
  app.get("/v1/routes", { schema: listed }, async () => {
    const items = (gateway.plan?.routes ?? []).map(({ name, priority, when, target, mirror, problem }) => {
      return { name, priority, when, target, mirror, status: problem === null ? "serving" : "broken", problem }
    })
    return { items }
  })

  app.get<{ Querystring: Static<typeof Query> }>(
    "/v1/explain",
    {
      schema: {
        querystring: Query,
        response: { 200: EXPLANATION },
        tags,
        summary: "why a request or topic goes where it goes",
      },
    },
    async ({ query }, reply) => {
      const { method = "GET", url, topic, header = [], ...rest } = query
      if ((url === undefined) === (topic === undefined)) return sendProblem(reply, 400, 'say either "url" or "topic"')
      if (topic !== undefined && /[+#]/.test(topic))
        return sendProblem(reply, 400, `"${topic}" is a filter; a message has a topic without "+" and "#"`)
      const headers = Object.fromEntries([header].flat().map(splitHeader))
      const asked = topic === undefined ? { method, url, headers, ...rest } : { topic, ...rest }
      return parsed(await gateway.native.explain(JSON.stringify(asked)))
    },
  )
}

function splitHeader(line: string): [name: string, value: string] {
  const [name = "", ...value] = line.split(":")
  return [name.trim().toLowerCase(), value.join(":").trim()]
}
