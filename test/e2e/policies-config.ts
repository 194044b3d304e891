/** The TypeScript config of policies.test.ts, as text: policies that do well, and one for each way to fail. */
export interface Addresses {
  readonly api: string
  readonly beta: string
  readonly gate: string
}

export function policiesConfig({ api, beta, gate }: Addresses): string {
  return `
import { byHeader, defineConfig, defineHandler, definePolicy, handler, path, respond, topic } from "tidegate"

const tenant = definePolicy({
  name: "tenant",
  deadlineMs: 5_000,
  filter: () => ({ header: { "x-tenant": true } }),
  decide: (message) => {
    const name = message.header("x-tenant")
    if (name === "blocked") return { reject: { status: 403, body: "not you" } }
    if (name === "beta") return { upstream: "beta" }
    if (message.path?.startsWith("/moved")) return { path: "/elsewhere" }
    return { setHeaders: { "x-seen": name ?? "" } }
  },
})
const cached = definePolicy({
  name: "cached",
  deadlineMs: 5_000,
  cache: () => ({ by: byHeader("x-tenant"), ttlMs: 60_000 }),
  decide: () => "continue",
})

/** The same failure with either fallback; both are one name in the metrics of their own. */
const failing = {
  throws: () => { throw new Error("boom") },
  rejects: async () => { throw new Error("boom") },
  never: () => new Promise(() => {}),
  rubbish: () => ({ nonsense: true }),
  loops: () => { for (;;); },
}
const declare = (name, fallback, suffix = "") =>
  definePolicy({ name: name + suffix, fallback, deadlineMs: 50, decide: failing[name] })
const failures = Object.keys(failing).flatMap((name) => [
  { when: path("/" + name + "/refuse"), to: respond(200, "passed"), use: [declare(name, "reject", name === "loops" ? "-refuses" : "")()] },
  { when: path("/" + name + "/pass"), to: respond(200, "passed"), use: [declare(name, "continue", name === "loops" ? "" : "-passes")()] },
])

const echo = defineHandler({
  name: "echo",
  deadlineMs: 5_000,
  maxBodyBytes: 1_000,
  handle: (message) => ({
    status: 201,
    headers: { "x-by": "echo" },
    body: { method: message.method, path: message.path, query: message.query, body: message.text() },
  }),
})
const breaks = defineHandler({ name: "breaks", handle: () => { throw new Error("boom") } })
const slow = defineHandler({ name: "slow", deadlineMs: 50, handle: () => new Promise(() => {}) })
const gated = defineHandler({
  name: "gated",
  deadlineMs: 20_000,
  handle: async (message) => { await fetch("http://${gate}/" + message.topic) },
})

export default defineConfig({
  workers: 2,
  admin: { address: "127.0.0.1:0" },
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  upstreams: { api: { endpoints: ["${api}"] }, beta: { endpoints: ["${beta}"] } },
  routes: [
    { when: path("/plain"), to: respond(200, "plain") },
    { when: path("/tenant/**"), to: "api", use: [tenant()] },
    { when: path("/moved/**"), to: "api", use: [tenant()] },
    { when: path("/cached"), to: "api", use: [cached()] },
    ...failures,
    { when: path("/echo/**"), to: handler(echo) },
    { when: path("/breaks"), to: handler(breaks) },
    { when: path("/slow"), to: handler(slow) },
    { when: topic("handled/#"), to: handler(gated) },
    { when: topic("refused/#"), to: handler(breaks) },
  ],
})
`
}
