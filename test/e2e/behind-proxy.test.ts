/** Behind a trusted proxy the client is who the proxy names: also where a try goes that is made again. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { request } from "undici"
import { runGateway, upstream } from "./run-gateway.ts"

test("a try that is made again goes where the client's address leads, not its proxy's", async (t) => {
  const origins = await Promise.all(["a", "b"].map((name) => upstream((_request, response) => response.end(name))))
  const gateway = await runGateway({
    workers: 1,
    log: { access: { format: "json", file: "access.log" } },
    listeners: [{ address: "tcp://127.0.0.1:0", trustedProxies: ["127.0.0.0/8"] }],
    upstreams: {
      to: {
        endpoints: ["127.0.0.1:1", ...origins.map(({ address }) => address)],
        balance: "ipHash",
        breaker: { failures: 0 },
        outlier: false,
      },
    },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(async () => {
    await gateway.stop()
    for (const { server } of origins) server.close()
  })
  for (let n = 1; n <= 60; n++) {
    const url = `http://127.0.0.1:${gateway.port}/`
    const { statusCode, body } = await request(url, { headers: { "x-forwarded-for": `192.0.2.${n}` } })
    t.is(statusCode, 200)
    await body.dump()
  }
  await sleep(1_500)
  const lines = readFileSync(join(gateway.folder, "access.log"), "utf8").trim().split("\n")
  const again = lines.map((line) => JSON.parse(line)).filter(({ retries }) => retries > 0)
  t.true(again.length > 5, `${again.length} clients met the dead endpoint first`)
  t.is(new Set(again.map(({ endpoint }) => endpoint)).size, 2, "one proxy's clients are spread")
})
