/** The admin API by its contract, on FakeNative, without a socket. */
import test, { type ExecutionContext } from "ava"
import type { InjectOptions } from "fastify"
import { createAdmin } from "../../src/admin/index.ts"
import { loadData } from "../../src/config/index.ts"
import { ConfigDesk, createLoadedGateway } from "../../src/gateway/index.ts"
import { FakeNative } from "../../src/native/index.ts"

const CONFIG = {
  workers: 1,
  dataDir: false,
  upstreams: { api: { endpoints: ["127.0.0.1:9000"] } },
  routes: [{ name: "a", when: { path: "/a" }, to: "api" }],
  auth: { users: { alice: "$argon2id$v=19$secret" } },
}

async function open(t: ExecutionContext, token: string | null = null, readToken: string | null = null) {
  const native = new FakeNative()
  const fromFile = loadData(CONFIG)
  const gateway = createLoadedGateway(fromFile, { native })
  await gateway.start()
  const desk = new ConfigDesk({ gateway, fromFile, origin: "file" })
  const admin = { host: "127.0.0.1", port: 0, token, readToken, readers: [], tls: null, hosts: [] }
  const app = await createAdmin(admin, gateway, desk)
  t.teardown(async () => {
    await desk.close()
    await app.close()
    await gateway.close()
  })
  const call = (options: InjectOptions) =>
    app.inject({ ...options, headers: { host: "127.0.0.1:7001", ...options.headers } })
  return { call, gateway, native: native.gateway }
}

test("is healthy while it lives and ready until it drains", async (t) => {
  const { call, gateway } = await open(t)
  t.is((await call({ url: "/health" })).statusCode, 200)
  t.is((await call({ url: "/ready" })).statusCode, 200)
  await gateway.drain()
  const answer = await call({ url: "/ready" })
  t.is(answer.statusCode, 503)
  t.is(answer.headers["retry-after"], "1")
  t.is((await call({ url: "/health" })).statusCode, 200)
})

test("registers, beats, changes, finds and forgets an instance", async (t) => {
  const { call } = await open(t)
  const at = "/v1/services/users/instances/u1"
  const payload = { host: "127.0.0.1", port: 9_100, zone: "a", version: "2" }
  const created = await call({ method: "PUT", url: at, payload })
  t.is(created.statusCode, 201)
  t.like(created.json(), { id: "u1", service: "users", port: 9_100, weight: 1, status: "unknown" })
  t.is((await call({ method: "PUT", url: at, payload })).statusCode, 200)
  t.is((await call({ method: "POST", url: `${at}/heartbeat` })).statusCode, 204)
  t.is(
    (
      await call({
        method: "POST",
        url: `${at}/heartbeat`,
        payload: { load: { active: 1, max: 10, cpu: 5, memory: 5 } },
      })
    ).statusCode,
    204,
  )
  t.is((await call({ url: "/v1/services/users/instances?healthy=true&zone=a&version=2" })).json().items.length, 1)
  t.is((await call({ url: "/v1/services/users/instances?zone=b" })).json().items.length, 0)
  t.like((await call({ method: "PATCH", url: at, payload: { status: "draining" } })).json(), { status: "draining" })
  t.deepEqual((await call({ url: "/v1/services" })).json(), {
    items: [{ name: "users", source: null, instances: 1, healthy: 0 }],
  })
  t.is((await call({ method: "DELETE", url: at })).statusCode, 204)
  t.is((await call({ method: "POST", url: `${at}/heartbeat` })).statusCode, 404)
})

test("tells errors as problem documents", async (t) => {
  const { call } = await open(t)
  const answer = await call({
    method: "PUT",
    url: "/v1/services/a/instances/b",
    payload: { host: "x", port: 0, extra: 1 },
  })
  t.is(answer.statusCode, 400)
  t.regex(answer.headers["content-type"] as string, /application\/problem\+json/)
  t.like(answer.json(), { status: 400, title: "Bad Request", type: "about:blank" })
  t.is((await call({ url: "/nowhere" })).json().status, 404)
  t.is(
    (await call({ method: "PUT", url: "/v1/config", payload: "{", headers: { "content-type": "application/json" } }))
      .statusCode,
    400,
  )
})

test("shows the configuration with its secrets hidden", async (t) => {
  const { call } = await open(t)
  const answer = await call({ url: "/v1/config" })
  t.false(answer.body.includes("secret"))
  t.is(answer.json().access.users[0].hash, "***")
})

test("applies a configuration that is put, refuses a bad one with every problem, goes back", async (t) => {
  const { call, native } = await open(t)
  const put = await call({ method: "PUT", url: "/v1/config", payload: { ...CONFIG, routes: [] } })
  t.is(put.statusCode, 200)
  t.like(put.json(), { version: 2, origin: "put" })
  t.is(native.plan?.routes.length, 0)
  const bad = await call({
    method: "PUT",
    url: "/v1/config",
    payload: { worker: 1, routes: [{ when: { path: "x" }, to: "y" }] },
  })
  t.is(bad.statusCode, 422)
  t.deepEqual(
    bad
      .json()
      .problems.map(({ path }: { path: string }) => path)
      .sort(),
    ["routes[0].to", "routes[0].when.path", "worker"],
  )
  t.is(native.plan?.routes.length, 0)
  t.like((await call({ method: "POST", url: "/v1/config/rollback" })).json(), { origin: "rollback", restores: 1 })
  t.is(native.plan?.routes.length, 1)
  t.is((await call({ url: "/v1/config/versions" })).json().items.length, 3)
  t.is((await call({ method: "POST", url: "/v1/config/rollback" })).statusCode, 409)
})

test("refuses foreign hosts and origins", async (t) => {
  const { call } = await open(t)
  t.is((await call({ url: "/v1/config", headers: { host: "evil.example" } })).statusCode, 421)
  t.is((await call({ url: "/v1/config", headers: { origin: "http://evil.example" } })).statusCode, 403)
  t.is((await call({ url: "/v1/config", headers: { "sec-fetch-site": "cross-site" } })).statusCode, 403)
  t.is((await call({ url: "/v1/config", headers: { origin: "http://127.0.0.1:7001" } })).statusCode, 200)
  t.is((await call({ url: "/v1/config", headers: { host: "localhost:7001" } })).statusCode, 200)
})

test("asks for the token where there is one, but not for health", async (t) => {
  const { call } = await open(t, "let-me-in")
  t.is((await call({ url: "/health" })).statusCode, 200)
  t.is((await call({ url: "/v1/config" })).statusCode, 401)
  t.is((await call({ url: "/v1/config", headers: { authorization: "Bearer wrong" } })).statusCode, 401)
  t.is((await call({ url: "/v1/config", headers: { authorization: "Bearer let-me-in" } })).statusCode, 200)
})

test("lists upstreams, routes and connections", async (t) => {
  const { call } = await open(t)
  const [upstream] = (await call({ url: "/v1/upstreams" })).json().items
  t.like(upstream, { name: "api", breaker: "closed" })
  t.like(upstream.endpoints[0], { health: "unknown", weight: 1, active: 0, ejectedUntil: null })
  t.like((await call({ url: "/v1/routes" })).json().items[0], { name: "a", status: "serving" })
  t.deepEqual((await call({ url: "/v1/connections?state=active&limit=5" })).json(), { items: [], nextCursor: null })
  t.is((await call({ url: "/v1/connections?state=wrong" })).statusCode, 400)
  t.is((await call({ method: "DELETE", url: "/v1/connections/7" })).statusCode, 404)
})

test("explains a request or a topic, but not both", async (t) => {
  const { call } = await open(t)
  t.deepEqual((await call({ url: "/v1/explain?method=POST&url=/a&header=x-a:b" })).json().query, {
    method: "POST",
    url: "/a",
    headers: { "x-a": "b" },
  })
  t.deepEqual((await call({ url: "/v1/explain?topic=a/b" })).json().query, { topic: "a/b" })
  t.is((await call({ url: "/v1/explain" })).statusCode, 400)
})

test("renders native series, histograms and its own numbers as Prometheus text", async (t) => {
  const { call, native } = await open(t)
  native.series = [
    {
      metric: "tidegate_requests_total",
      labels: { protocol: "http1", route: "a", code: "200" },
      kind: "counter",
      values: [3],
    },
    {
      metric: "tidegate_request_duration_seconds",
      labels: { protocol: "http1", route: "a" },
      kind: "histogram",
      buckets: [0.1, 1],
      values: [2, 3, 4, 4.5, 4],
    },
  ]
  const first = (await call({ url: "/metrics" })).body
  t.true(first.includes('tidegate_requests_total{protocol="http1",route="a",code="200"} 3'))
  t.true(first.includes('tidegate_request_duration_seconds_bucket{protocol="http1",route="a",le="1"} 3'))
  t.true(first.includes('tidegate_request_duration_seconds_bucket{protocol="http1",route="a",le="+Inf"} 4'))
  t.true(first.includes('tidegate_request_duration_seconds_sum{protocol="http1",route="a"} 4.5'))
  t.true(first.includes("tidegate_config_version 1"))
  for (const [name, kind] of [
    ["tidegate_requests_total", "counter"],
    ["tidegate_connections", "gauge"],
    ["tidegate_policy_duration_seconds", "histogram"],
  ]) {
    t.true(first.includes(`# TYPE ${name} ${kind}\n`), `${name} has no series yet, and is named`)
  }
  t.true(first.includes('tidegate_config_applies_total{outcome="applied"} 1'))
  native.series = [...native.series, { metric: "tidegate_retained_messages", labels: {}, kind: "gauge", values: [9] }]
  t.true((await call({ url: "/metrics" })).body.includes("tidegate_retained_messages 9"))
})

test("describes itself as OpenAPI 3.1", async (t) => {
  const { call } = await open(t)
  const document = (await call({ url: "/openapi.json" })).json()
  t.regex(document.openapi, /^3\.1/)
  for (const path of [
    "/health",
    "/metrics",
    "/v1/services/{service}/instances/{id}",
    "/v1/config",
    "/v1/mqtt/retained",
  ]) {
    t.truthy(document.paths[path], path)
  }
  t.is((await call({ url: "/" })).statusCode, 200)
})

test("a method that an address does not take is 405 with those it takes", async (t) => {
  const { call } = await open(t)
  const wrong = await call({ method: "POST", url: "/v1/services/users/instances/u1?a=b" })
  t.is(wrong.statusCode, 405)
  t.is(wrong.headers.allow, "DELETE, PATCH, PUT")
  t.regex(String(wrong.headers["content-type"]), /^application\/problem\+json/)
  t.is((await call({ method: "DELETE", url: "/health" })).headers.allow, "GET, HEAD")
  t.is((await call({ url: "/v1/nothing" })).statusCode, 404)
})

test("JSON has its type: nothing is made of something else", async (t) => {
  const { call } = await open(t)
  const put = (more: object) =>
    call({ method: "PUT", url: "/v1/services/s/instances/i", payload: { host: "a", port: 1, ...more } })
  for (const more of [{ ttlSeconds: 0 }, { port: "80" }, { weight: "1" }, { zone: 7 }])
    t.is((await put(more)).statusCode, 400, JSON.stringify(more))
  t.is((await put({ zone: "" })).json().zone, "")
  for (const type of ["text/plain", "application/x-yaml", "application/x-www-form-urlencoded"]) {
    const [payload, headers] = ['{"host":"a","port":1}', { "content-type": type }]
    const other = await call({ method: "PUT", url: "/v1/services/s/instances/i", payload, headers })
    t.is(other.statusCode, 415, type)
    t.regex(String(other.headers["content-type"]), /^application\/problem\+json/)
  }
  const { statusCode } = await call({ url: `/v1/mqtt/clients/${"x".repeat(300)}` })
  t.is(statusCode, 404)
  t.is((await call({ url: "/v1/connections?limit=5&state=idle" })).statusCode, 200)
})

test("kicks a client by its id, once", async (t) => {
  const { call, native } = await open(t)
  native.clients.add("sensor/1")
  const url = "/v1/mqtt/clients/sensor%2F1"
  t.is((await call({ method: "DELETE", url })).statusCode, 204)
  t.is((await call({ method: "DELETE", url })).statusCode, 404)
  t.deepEqual((await call({ url: "/v1/mqtt/clients" })).json().items, [])
})

test("whoever has the token for reading may look, not change", async (t) => {
  const { call } = await open(t, "all", "look")
  const authorization = "Bearer look"
  t.is((await call({ url: "/v1/config", headers: { authorization } })).statusCode, 200)
  const put = await call({ method: "PUT", url: "/v1/config", payload: {}, headers: { authorization } })
  t.is(put.statusCode, 403)
  t.is(put.json().detail, "readToken may look, not change")
  t.is((await call({ method: "POST", url: "/v1/config/rollback" })).statusCode, 401)
  const { items } = (await call({ url: "/v1/audit", headers: { authorization } })).json()
  t.like(items[0], { caller: "nobody", path: "/v1/config/rollback", status: 401 })
  t.like(items[1], { caller: "readToken", role: "reader", method: "PUT", path: "/v1/config", status: 403 })
})
