/** Each recipe of docs/cookbook.md: its policy is taken from the page and tried on messages. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { fieldsOf } from "../../src/policy/index.ts"
import { createPolicyMessage, toVerdictRecord, type VerdictRecord } from "../../src/runner/index.ts"

const page = readFileSync(fileURLToPath(new URL("../../docs/cookbook.md", import.meta.url)), "utf8")
const recipes = [...page.matchAll(/^## \d+\. (.*)\n\n```ts\n([\s\S]*?)^```$/gm)].map(([, title = "", code = ""]) => {
  return { title, code }
})

interface Message {
  readonly path?: string
  readonly topic?: string
  readonly clientId?: string
  readonly source?: string
  readonly protocol?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly cookies?: Readonly<Record<string, string>>
}

interface Try {
  readonly policy: string
  readonly options?: Readonly<Record<string, unknown>>
  readonly message: Message
  readonly verdict: Partial<VerdictRecord>
}

const on = (policy: string, message: Message, verdict: Partial<VerdictRecord>, options = {}): Try => {
  return { policy, options, message, verdict }
}

/** By the recipe's number. */
const TRIES: readonly (readonly Try[])[] = [
  [on("tenant", { headers: { "x-tenant": "acme" } }, { action: "continue", hashKey: "acme" })],
  [
    on("canary", { cookies: { beta: "1" } }, { upstream: "next" }),
    on("canary", { cookies: { beta: "0" } }, { action: "continue" }),
  ],
  [
    on("share", { headers: { "x-device": "a" } }, { path: "/firmware/next" }, { percent: 100 }),
    on("share", { headers: { "x-device": "a" } }, { action: "continue" }, { percent: 0 }),
  ],
  [
    on("maintenance", { source: "192.0.2.7" }, { action: "continue" }, { insiders: ["192.0.2.7"] }),
    on("maintenance", { source: "192.0.2.8" }, { action: "reject", status: 503 }, { insiders: ["192.0.2.7"] }),
  ],
  [
    on("own-topic", { topic: "devices/d1/temp", clientId: "d1" }, { action: "continue" }),
    on("own-topic", { topic: "devices/d2/temp", clientId: "d1" }, { action: "reject", status: 403 }),
  ],
  [
    on("aliases", { path: "/v1/users" }, { path: "/accounts" }),
    on("aliases", { path: "/v1/x" }, { action: "continue" }),
  ],
  [
    on("plan", { headers: { "x-api-key": "acme.1" } }, { hashKey: "acme" }),
    on("plan", {}, { action: "reject", status: 401 }),
  ],
  [
    on(
      "dress",
      { source: "192.0.2.1", protocol: "coap" },
      {
        setHeaders: [
          ["x-region", "eu"],
          ["x-seen-from", "192.0.2.1"],
          ["x-came-by", "coap"],
        ],
        removeHeaders: ["x-internal"],
      },
      { region: "eu" },
    ),
  ],
  [
    on("window", {}, { action: "continue" }, { from: 22, to: 6, hour: () => 23 }),
    on("window", {}, { action: "continue" }, { from: 22, to: 6, hour: () => 5 }),
    on("window", {}, { action: "reject", status: 403 }, { from: 22, to: 6, hour: () => 12 }),
  ],
  [
    on("session", { headers: { authorization: "t" } }, { setHeaders: [["x-user", "ada"]] }, { ask: async () => "ada" }),
    on("session", {}, { action: "reject", status: 401 }, { ask: async () => null }),
  ],
]

test("there are tries for every recipe", (t) => {
  t.is(recipes.length, 10)
  t.is(TRIES.length, recipes.length)
})

for (const [index, { title, code }] of recipes.entries()) {
  test(title, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "tidegate-cookbook-"))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, "tidegate.config.ts")
    writeFileSync(file, code)
    const { functions, warnings } = await loadConfig(file)
    t.deepEqual(warnings, [])
    for (const { policy: name, options = {}, message, verdict } of TRIES[index] ?? []) {
      const policy = functions.policies.get(name)
      if (policy === undefined) return t.fail(`there is no policy ${name}`)
      const reads = fieldsOf(policy, options)
      const values = reads.map((read) => fieldOf(message, read.field, read.name))
      t.like(toVerdictRecord(await policy.decide(createPolicyMessage(reads, values), options)), verdict)
    }
    t.true((TRIES[index] ?? []).length > 0)
  })
}

function fieldOf(
  { headers = {}, cookies = {}, ...fields }: Message,
  field: string,
  name: string | null,
): string | null {
  if (name === null) return (fields as Readonly<Record<string, string | undefined>>)[field] ?? null
  return (field === "cookie" ? cookies : headers)[name] ?? null
}
