/** The admin API's own description, and whether a running gateway answers as it says. */
import { Ajv } from "ajv"
import test from "ava"
import mqtt from "mqtt"
import { runGateway, upstream } from "./run-gateway.ts"

interface Answer {
  readonly content?: Record<string, { readonly schema: { readonly required?: readonly string[] } }>
}
type Paths = Record<string, Record<string, { readonly responses: Record<string, Answer> }>>

test("every call says what it answers, and its answers are so", async (t) => {
  const api = await upstream((_, response) => void response.end("x"))
  const gateway = await runGateway({
    upstreams: { api: { endpoints: [api.address] } },
    routes: [{ when: { path: "/a" }, to: "api", use: [{ breaker: { failures: 5 } }], mirror: "api" }],
    alerts: [{ name: "many", metric: "tidegate_retained_messages", above: 100, do: [{ log: "warn" }] }],
  })
  t.teardown(async () => {
    await gateway.stop()
    api.server.closeAllConnections()
    api.server.close()
  })
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { clientId: "sensor", protocolVersion: 5 })
  t.teardown(() => client.endAsync())
  await client.subscribeAsync("a/#", { qos: 1 })
  await client.publishAsync("a/b", "x", { retain: true, properties: { messageExpiryInterval: 60 } })
  await fetch(`http://127.0.0.1:${gateway.port}/a`)
  const instance = { host: "127.0.0.1", port: 9_100, ttlSeconds: 60, metadata: { rack: "7" } }
  const at = `${gateway.admin}/v1/services/users/instances/u1`
  const headers = { "content-type": "application/json" }
  await fetch(at, { method: "PUT", headers, body: JSON.stringify(instance) })
  const load = { active: 1, max: 10, cpu: 5, memory: 5.5 }
  await fetch(`${at}/heartbeat`, { method: "POST", headers, body: JSON.stringify({ load }) })

  const { paths } = (await (await fetch(`${gateway.admin}/openapi.json`)).json()) as { paths: Paths }
  const ajv = new Ajv({ strict: false })
  const empty: string[] = []
  let checked = 0
  for (const [path, calls] of Object.entries(paths)) {
    for (const [method, { responses }] of Object.entries(calls)) {
      const problem = responses.default?.content?.["application/problem+json"]?.schema
      t.deepEqual(problem?.required, ["type", "title", "status", "detail"], `${method} ${path}`)
      const schema = responses[200]?.content?.["application/json"]?.schema
      if (method !== "get" || schema === undefined) continue
      const url = path.replace("{service}", "users").replace("{id}", "sensor")
      const answer = await fetch(`${gateway.admin}${path === "/v1/explain" ? `${url}?url=/a` : url}`)
      t.is(answer.status, 200, url)
      const body = (await answer.json()) as { readonly items?: readonly unknown[] }
      const isSo = ajv.compile(schema)
      t.true(isSo(body), `${url}: ${ajv.errorsText(isSo.errors)} ${JSON.stringify(body)}`)
      if (body.items?.length === 0) empty.push(path)
      checked++
    }
  }
  t.true(checked >= 16, `${checked}`)
  // Policies are functions, which a configuration in JSON has none of.
  t.deepEqual(empty, ["/v1/policies"], "a list without items shows nothing")
})
