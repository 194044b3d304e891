/** Health checks: the state machine without a clock, the checks against real servers. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import test, { type ExecutionContext } from "ava"
import fc from "fast-check"
import { judge, nextDelay, UNKNOWN } from "../../src/health/index.ts"
import { start, until } from "./start.ts"

const TIMES = { rise: 2, fall: 3 }

function after(results: readonly boolean[]) {
  return results.reduce((state, passed) => judge(state, passed, TIMES), UNKNOWN)
}

test("one pass makes an unknown endpoint healthy, `fall` fails make it unhealthy", (t) => {
  t.is(after([true]).status, "healthy")
  t.is(after([false, false]).status, "unknown")
  t.is(after([false, false, false]).status, "unhealthy")
})

test("only results in a row count", (t) => {
  t.is(after([true, false, false, true, false, false]).status, "healthy")
  t.is(after([true, false, false, false]).status, "unhealthy")
  t.is(after([false, false, false, true, false, true]).status, "unhealthy")
  t.is(after([false, false, false, true, true]).status, "healthy")
})

test("whatever came before, `fall` fails end unhealthy and `rise` passes end healthy", (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 30 }), (results) => {
      t.is(after([...results, false, false, false]).status, "unhealthy")
      t.is(after([...results, true, true]).status, "healthy")
    }),
  )
})

test("checks come faster while the verdict is about to change", (t) => {
  t.is(nextDelay({ status: "healthy", against: 0 }, 3_000), 3_000)
  t.is(nextDelay({ status: "healthy", against: 1 }, 3_000), 1_000)
  t.is(nextDelay(UNKNOWN, 3_000), 1_000)
})

async function serve(t: ExecutionContext, answer: () => { status: number; body: string }): Promise<number> {
  const server: Server = createServer((_, response) => {
    const { status, body } = answer()
    response.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

const FAST = { intervalMs: 20, timeoutMs: 500, rise: 1, fall: 1 }

test("an endpoint that fails its HTTP check loses its weight and gets it back", async (t) => {
  let status = 200
  const port = await serve(t, () => ({ status, body: "all fine" }))
  const upstreams = { api: { endpoints: [`127.0.0.1:${port}`], health: { http: "/healthz", body: "fine", ...FAST } } }
  const { native, gateway } = await start(t, { upstreams })
  const statusOf = () => gateway.endpoints.status(gateway.loaded.config.upstreams[0] as never, `127.0.0.1:${port}`)
  await until(() => statusOf() === "healthy")
  status = 500
  await until(() => native.weights[0]?.health === 0)
  status = 204
  await until(() => statusOf() === "unhealthy")
  status = 200
  await until(() => native.weights[0]?.health === 1)
  t.is(statusOf(), "healthy")
})

test("a TCP check fails where nothing listens", async (t) => {
  const upstreams = { api: { endpoints: ["127.0.0.1:1"], health: { tcp: true, ...FAST } } }
  const { native } = await start(t, { upstreams })
  await until(() => native.weights[0]?.health === 0)
  t.pass()
})

test("what a check finds of a registered instance stands in the registry", async (t) => {
  const port = await serve(t, () => ({ status: 200, body: "" }))
  const { gateway } = await start(t, { upstreams: { api: { service: "api", health: { http: "/", ...FAST } } } })
  gateway.registry.put("api", "a1", { host: "127.0.0.1", port })
  await until(() => gateway.registry.instances("api", { healthy: true }).length === 1)
  t.pass()
})
