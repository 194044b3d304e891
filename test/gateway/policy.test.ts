/** Policies and handlers through the decision ring, in the calling thread, on FakeNative. */
import test, { type ExecutionContext } from "ava"
import { TidegateError } from "../../src/errors.ts"
import {
  byHeader,
  defineHandler,
  definePolicy,
  handler,
  type PolicyDefinition,
  path,
  type Verdict,
} from "../../src/index.ts"
import type { FakePolicyPort } from "../../src/native/index.ts"
import { SLOT_KIND, SLOT_OUTCOME } from "../../src/native/index.ts"
import { start, until } from "./start.ts"

type Declared = Omit<PolicyDefinition, "name">

/** Asks one policy; `fields` by name, in the order the plan declares them. */
async function ask(t: ExecutionContext, policy: Declared, fields: Record<string, string> = {}) {
  const declared = definePolicy({ name: "tested", ...policy })
  const config = {
    upstreams: { api: { endpoints: ["127.0.0.1:1"] } },
    routes: [{ when: path("/a"), to: "api", use: [declared()] }],
  }
  const { native } = await start(t, config)
  const reads = native.plan?.scripts[0]?.reads ?? []
  const values = reads.map(({ field, name }) => fields[name ?? field] ?? null)
  const port = native.policy as FakePolicyPort
  const { outcome, text } = await port.ask({ kind: SLOT_KIND.decision, index: 0, planVersion: 1, fields: values })
  const isRecord = outcome === SLOT_OUTCOME.ok && text !== ""
  return { outcome, verdict: isRecord ? (JSON.parse(text) as unknown) : text }
}

test("a policy sees the declared fields and its verdict comes back in place", async (t) => {
  const policy: Declared = {
    reads: () => [byHeader("X-Tenant"), { query: "q" }],
    decide: (message) => ({
      hashKey: `${message.header("x-tenant")}${message.query("q")}${message.path}`,
      setHeaders: { "x-a": "b" },
    }),
  }
  const answer = await ask(t, policy, { "x-tenant": "t1", q: "7", path: "/a" })
  t.deepEqual(answer, {
    outcome: SLOT_OUTCOME.ok,
    verdict: { action: "continue", hashKey: "t17/a", setHeaders: [["x-a", "b"]] },
  })
})

test("a policy may answer later", async (t) => {
  const answer = await ask(t, { decide: async () => ({ reject: { status: 429, body: "slow" } }) })
  t.deepEqual(answer.verdict, { action: "reject", status: 429, body: "slow" })
})

test("what changes nothing is an answer of no bytes", async (t) => {
  for (const nothing of [undefined, null, {}, "continue", { upstream: undefined }] as const) {
    const answer = await ask(t, { decide: () => nothing as Verdict })
    t.deepEqual(answer, { outcome: SLOT_OUTCOME.ok, verdict: "" }, JSON.stringify(nothing))
  }
})

test("a policy that throws or rejects is an outcome, not the end", async (t) => {
  const thrower = (): never => {
    throw new Error("boom")
  }
  t.is((await ask(t, { decide: thrower })).outcome, SLOT_OUTCOME.threw)
  t.is((await ask(t, { decide: () => Promise.reject(new Error("boom")) })).outcome, SLOT_OUTCOME.threw)
})

test("rubbish is refused, whatever it is", async (t) => {
  const rubbish = [
    5,
    "yes",
    [],
    { rejekt: true },
    { reject: { status: 200 } },
    { setHeaders: { "a b": "c" } },
    { setHeaders: { a: "b\r\nc" } },
    { path: "x" },
  ]
  for (const value of rubbish) {
    const { outcome } = await ask(t, { decide: () => value as never })
    t.is(outcome, SLOT_OUTCOME.invalid, JSON.stringify(value))
  }
})

test("an answer that is longer than its place is invalid", async (t) => {
  const { outcome } = await ask(t, { decide: () => ({ hashKey: "x".repeat(2_000) }) })
  t.is(outcome, SLOT_OUTCOME.invalid)
})

test("reading an undeclared field says how to declare it", async (t) => {
  const { outcome, verdict } = await ask(t, { decide: (message) => ({ hashKey: message.header("x-other") }) })
  t.is(outcome, SLOT_OUTCOME.threw)
  t.regex(String(verdict), /without declaring it/)
})

test("requests of the plan before are still answered by its own table", async (t) => {
  const make = (name: string) => definePolicy({ name, decide: () => ({ hashKey: name }) })
  const config = (name: string) => ({
    workers: 1,
    dataDir: false,
    upstreams: { api: { endpoints: ["127.0.0.1:1"] } },
    routes: [{ when: path("/a"), to: "api", use: [make(name)()] }],
  })
  const { gateway, native } = await start(t, config("one"))
  await gateway.reload(config("two"))
  const port = native.policy as FakePolicyPort
  t.regex((await port.ask({ kind: SLOT_KIND.decision, index: 0, planVersion: 1 })).text, /one/)
  t.regex((await port.ask({ kind: SLOT_KIND.decision, index: 0, planVersion: 2 })).text, /two/)
})

test("a handler gets head and body and answers with a status, headers and a body", async (t) => {
  const echo = defineHandler({
    name: "echo",
    handle: async (message) => ({ status: 201, body: { got: message.text(), by: message.header("X-A") } }),
  })
  const { native } = await start(t, { routes: [{ when: path("/h"), to: handler(echo) }] })
  t.deepEqual(native.plan?.handlers, [{ name: "echo", deadlineMs: 1_000, maxBodyBytes: 65_536 }])
  const port = native.policy as FakePolicyPort
  const head = Buffer.from(JSON.stringify({ method: "POST", path: "/h", headers: [["x-a", "b"]] }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(head.length)
  port.request = Buffer.concat([length, head, Buffer.from("hello")])
  void port.ask({ kind: SLOT_KIND.handler, index: 0, planVersion: 1 })
  await until(() => port.replies.length === 1)
  t.deepEqual(port.replies[0]?.head, { status: 201, headers: [["content-type", "application/json"]] })
  t.deepEqual(JSON.parse(port.replies[0]?.body.toString() ?? ""), { got: "hello", by: "b" })
})

test("a handler that throws answers 500", async (t) => {
  const broken = defineHandler({
    name: "broken",
    handle: () => {
      throw new Error("boom")
    },
  })
  const { native } = await start(t, { handlers: [broken], routes: [{ when: path("/h"), to: { handler: "broken" } }] })
  const port = native.policy as FakePolicyPort
  port.request = Buffer.from([2, 0, 0, 0, 0x7b, 0x7d])
  void port.ask({ kind: SLOT_KIND.handler, index: 0, planVersion: 1 })
  await until(() => port.replies.length === 1)
  t.like(port.replies[0]?.head, { status: 500 })
})

test("a declaration with a wrong name or deadline is refused where it stands", (t) => {
  const decide = () => "continue" as const
  for (const wrong of [
    { name: "retry" },
    { name: "a b" },
    { name: "a", deadlineMs: 0 },
    { name: "a", fallback: "no" },
  ]) {
    t.throws(() => definePolicy({ decide, ...wrong } as never), { instanceOf: TidegateError, code: "POLICY_INVALID" })
  }
})
