/** `Tidegate-Explain`: whoever has a token of the admin API is told by the answer why it went where it went. */
import ava from "ava"
import { request } from "undici"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

let gateway: Running
let open: Running
let api: Awaited<ReturnType<typeof upstream>>
const seen: NodeJS.Dict<string | string[]>[] = []

ava.before(async () => {
  api = await upstream(({ headers }, response) => {
    seen.push(headers)
    response.writeHead(200, { "x-own": "1" }).end("api")
  })
  const config = {
    upstreams: { api: { endpoints: [api.address] } },
    routes: [
      { name: "things", when: { path: "/things/**" }, to: "api" },
      { name: "posts", when: { path: "/things/**", method: "POST" }, to: "api" },
      { name: "kept", when: { path: "/kept" }, to: "api", use: [{ cache: { ttlMs: 60_000 } }] },
      { name: "own", when: { path: "/own" }, to: { respond: { body: "own" } }, use: [{ setHeader: { "x-a": "1" } }] },
    ],
  }
  gateway = await runGateway({ ...config, admin: { address: "127.0.0.1:0", token: "s3cret", readToken: "look" } })
  open = await runGateway(config)
})

ava.after.always(async () => {
  await gateway?.stop()
  await open?.stop()
  api?.server.closeAllConnections()
  api?.server.close()
})

async function ask(path: string, token?: string, port = gateway.port): Promise<unknown[]> {
  const headers = token === undefined ? {} : { "tidegate-explain": token }
  const answer = await request(`http://127.0.0.1:${port}${path}`, { headers })
  await answer.body.dump()
  return [answer.headers["tidegate-explain"] ?? []].flat().map((value) => JSON.parse(value))
}

ava("an answer of an upstream explains its route and where it went; the token goes nowhere", async (t) => {
  for (const token of ["s3cret", "Bearer s3cret", "look"]) {
    const [why, outcome] = (await ask("/things/1", token)) as Record<string, unknown>[]
    t.like(why, { route: "things", target: { upstreams: [{ upstream: "api", weight: 1 }] } })
    const candidates = why?.candidates as { route: string; matched: boolean; reason: string }[]
    t.true(candidates.some(({ route, matched }) => route === "things" && matched))
    t.true(candidates.some(({ route, matched }) => route === "posts" && !matched))
    t.like(outcome, { upstream: "api", endpoint: api.address, retries: 0 })
  }
  t.true(seen.every((headers) => headers["tidegate-explain"] === undefined))
})

ava("own answers, kept ones and those without a route explain, too", async (t) => {
  t.like((await ask("/own", "s3cret"))[0], { route: "own", target: { respond: { status: 200 } } })
  t.like((await ask("/nowhere", "s3cret"))[0], { route: null })
  for (let count = 0; count < 2; count++) t.like((await ask("/kept", "s3cret"))[0], { route: "kept" })
  t.deepEqual(await ask("/kept"), [], "what is kept holds no explanation of another request")
})

ava("without a token, with a wrong one, or where none is configured, nothing is explained", async (t) => {
  t.deepEqual(await ask("/things/1"), [])
  t.deepEqual(await ask("/things/1", "guess"), [])
  t.deepEqual(await ask("/things/1", "", open.port), [])
  t.deepEqual(await ask("/things/1", "s3cret", open.port), [])
})
