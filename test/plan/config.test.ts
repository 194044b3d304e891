/** What a configuration may say, what it may not, and how its faults are told. */
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import { HIDDEN, loadConfig, loadData, redact } from "../../src/config/index.ts"
import { TidegateError } from "../../src/errors.ts"
import { consistentHash, defineConfig, definePolicy, handler, http, path, retry, tcp } from "../../src/index.ts"

function write(name: string, text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), name)
  writeFileSync(file, text)
  return file
}

async function problemsOf(text: string, name = "tidegate.config.yaml"): Promise<readonly string[]> {
  try {
    await loadConfig(write(name, text))
    return []
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    return error.problems.map((problem) => `${problem.line}: ${problem.path}: ${problem.message}`)
  }
}

const CONTRACT = `
workers: 1
admin: { address: "127.0.0.1:7001" }
listeners:
  - { address: "tcp://127.0.0.1:7000", protocols: detect }
  - { address: "udp://[::1]:5683", protocols: [coap] }
upstreams:
  api: { endpoints: ["127.0.0.1:9000", { address: "127.0.0.1:9001", weight: 3, zone: a, labels: { v: "1" } }], balance: roundRobin, health: { http: /healthz } }
  beta: { endpoints: ["127.0.0.1:9100"], protocol: h2c, health: { tcp: true, intervalMs: 500, timeoutMs: 200, rise: 1, fall: 2 } }
  users: { service: users, balance: { consistentHash: { header: x-user } } }
  slow: { service: slow, balance: { loadScore: { threshold: 0.7 } } }
routes:
  - { when: { path: "/api/**" }, to: api, mirror: beta, use: [{ retry: { attempts: 2, on: ["connect-failure", "5xx"] } }, { timeout: { ms: 500 } }, { breaker: { failures: 5, openMs: 10000 } }, { rateLimit: { perSecond: 10, burst: 10, key: clientIp } }, { setHeader: { "x-a": "b" } }, { removeHeader: ["x-c"] }, { rewrite: { path: "/v2/{rest}" } }] }
  - { when: { host: "old.example", path: "/" }, to: [{ upstream: api, weight: 80 }, { upstream: beta, weight: 20 }] }
  - { when: { path: "/ping" }, to: { respond: { status: 200, body: pong } } }
  - { when: { path: "/old" }, to: { redirect: { location: "/new", status: 301 } }, priority: 5 }
  - { when: { topic: "plant/+/temp" }, to: { topic: "archive/{topic}" } }
  - { when: { path: "/users/{id}", host: "*.a.com", method: [GET, POST], header: { x-a: b, x-b: { regex: "a+" } }, query: { q: "1" }, clientId: c, protocol: http, source: 10.0.0.0/8, sni: a.com }, to: users }
services: { fixed: ["127.0.0.1:1000", { id: b, host: 127.0.0.1, port: 1001 }] }
policies: []
handlers: []
bridges: {}
broker: { httpPath: /topics, maxQueued: 10 }
mqtt: { maxInflight: 5 }
coap: { ackTimeoutMs: 1000 }
tls: {}
auth: { users: { alice: "$argon2id$v=19$x" }, acl: [{ user: alice, allow: all, topic: "#" }] }
limits: { maxConnections: 10 }
drain: { delayMs: 0, timeoutMs: 1000 }
log: { sampleEvery: 0 }
tracing: {}
alerts: []
dataDir: .data
`

test("takes every key of the contract", async (t) => {
  t.deepEqual(await problemsOf(CONTRACT), [])
})

test("tells every problem at once, with line, path, value and the nearest name", async (t) => {
  const problems = await problemsOf(`worker: 1
upstreams:
  api: { endpoints: ["127.0.0.1"], balance: roundrobin }
routes:
  - { when: { path: "api/**" }, to: apii }
  - { when: { path: 5 }, to: { respond: { status: "x" } } }
`)
  t.true(problems.includes('1: worker: "worker" is not known here; did you mean "workers"?'))
  t.true(problems.some((text) => text.startsWith("3: upstreams.api.balance: expected one of roundRobin")))
  t.true(problems.some((text) => text.endsWith('got "roundrobin"; did you mean "roundRobin"?')))
  t.true(problems.includes('3: upstreams.api.endpoints[0]: "127.0.0.1" is not HOST:PORT'))
  t.true(problems.includes('5: routes[0].when.path: "api/**" must start with a slash'))
  t.true(problems.includes('5: routes[0].to: upstream "apii" does not exist; did you mean "api"?'))
  t.true(problems.includes('6: routes[1].to.respond.status: expected integer, got "x"'))
  t.true(problems.includes("6: routes[1].when.path: expected string or { regex }, got 5"))
})

test("finds the lines of a program", async (t) => {
  const text = `export default {
  upstreams: { api: { endpoints: ["127.0.0.1:1"] } },
  routes: [
    { when: { path: "/a" }, to: "api" },
    { when: { path: "/b" },
      to: "apo" },
  ],
}
`
  t.deepEqual(await problemsOf(text, "tidegate.config.ts"), [
    '6: routes[1].to: upstream "apo" does not exist; did you mean "api"?',
  ])
})

test("says where YAML cannot be parsed", async (t) => {
  const problems = await problemsOf("workers: 1\nlisteners: [\n")
  t.true(problems.length > 0)
  t.regex(problems[0] ?? "", /^[23]: /)
})

test("says what is wrong with JSON in words of JSON", async (t) => {
  const told = async (text: string) =>
    (await problemsOf(text, "tidegate.config.json")).map((line) => line.toLowerCase())
  t.regex((await told('{\n  "workers": 1\n  "admin": false\n}'))[0] ?? "", /^3: : expected ',' or '}'/)
  t.regex((await told('{\n  "workers": 1\n'))[0] ?? "", /^2: : .*(end of json input|expected ',' or '}')/)
})

test("says that a module has no default export", async (t) => {
  const message = "there is no default export: write export default defineConfig({ ... })"
  for (const name of ["tidegate.config.ts", "tidegate.config.mjs"]) {
    t.deepEqual(await problemsOf("export const config = { workers: 1 }\n", name), [`undefined: : ${message}`])
  }
  t.deepEqual(await problemsOf("module.exports = { workers: 1 }\n", "tidegate.config.cjs"), [])
})

test("refuses a listener that other machines reach without auth, unless it says anonymous", async (t) => {
  const listener = (more: string): Promise<readonly string[]> =>
    problemsOf(`listeners: [{ address: "tcp://0.0.0.0:7000"${more} }]\n`)
  t.regex((await listener(""))[0] ?? "", /can be reached from other machines/)
  t.deepEqual(await listener(", anonymous: true"), [])
})

test("refuses an open admin address without a token", async (t) => {
  t.regex((await problemsOf('admin: { address: "0.0.0.0:7001" }\n'))[0] ?? "", /add "token"/)
})

test("refuses two different breakers of one upstream", async (t) => {
  const problems = await problemsOf(`upstreams: { api: { endpoints: ["127.0.0.1:1"] } }
routes:
  - { when: { path: /a }, to: api, use: [{ breaker: { failures: 1 } }] }
  - { when: { path: /b }, to: api, use: [{ breaker: { failures: 2 } }] }
`)
  t.regex(problems[0] ?? "", /already has another breaker by routes\[0\]/)
})

test("takes secrets from the environment and from files, and says when they are not there", async (t) => {
  process.env.TIDEGATE_TEST_HASH = "$argon2id$v=19$env"
  const { config } = loadData({ auth: { users: { a: { env: "TIDEGATE_TEST_HASH" } } } })
  t.is(config.access.users[0]?.hash, "$argon2id$v=19$env")
  const file = write("hash", "$argon2id$v=19$file\n")
  t.is(loadData({ auth: { users: { a: { file } } } }).config.access.users[0]?.hash, "$argon2id$v=19$file")
  const error = t.throws(() => loadData({ auth: { users: { a: { env: "TIDEGATE_TEST_NOT_SET" } } } }), {
    instanceOf: TidegateError,
  })
  t.regex(error?.problems[0]?.message ?? "", /TIDEGATE_TEST_NOT_SET is not set/)
})

test("hides secrets wherever a configuration is shown", (t) => {
  const { config, data } = loadData({ admin: { token: "topsecret" }, auth: { users: { a: "$argon2id$v=19$hidden" } } })
  for (const shown of [redact(config), redact(data)]) {
    t.false(JSON.stringify(shown).includes("topsecret"))
    t.false(JSON.stringify(shown).includes("hidden"))
  }
})

test("reads builders and closures as the same data as YAML", (t) => {
  const tenant = definePolicy<{ header?: string }>({ name: "tenant", decide: () => "continue" })
  const { data, functions } = loadData(
    defineConfig({
      upstreams: {
        api: { endpoints: ["127.0.0.1:9000"], balance: consistentHash("key"), health: http("/healthz", { rise: 1 }) },
      },
      policies: [tenant],
      routes: [
        {
          when: path("/api/**").withHeader("x-a", "b"),
          to: "api",
          use: [tenant({ header: "x" }), retry({ attempts: 2 })],
        },
      ],
      dataDir: false,
    }),
  )
  t.deepEqual(data.routes?.[0], {
    when: { path: "/api/**", header: { "x-a": "b" } },
    to: "api",
    use: [{ tenant: { header: "x" } }, { retry: { attempts: 2 } }] as never,
  })
  t.deepEqual(data.policies, ["tenant"])
  t.deepEqual(data.upstreams?.api?.health, { http: "/healthz", rise: 1 })
  t.deepEqual([...functions.policies.keys()], ["tenant"])
})

test("refuses a handler that is not there and a policy name that is none", (t) => {
  const bad = { routes: [{ when: { path: "/a" }, to: handler("gone"), use: [{ nothere: {} }] }] }
  const error = t.throws(() => loadData(bad), { instanceOf: TidegateError })
  t.deepEqual(
    error?.problems.map(({ path }) => path),
    ["routes[0].to.handler", "routes[0].use[0].nothere"],
  )
})

test("never throws anything but a coded error, whatever stands in a configuration", (t) => {
  const values = [null, 5, "x", [], {}, [[]], { a: 1 }, true]
  const keys = [
    "workers",
    "listeners",
    "admin",
    "upstreams",
    "services",
    "routes",
    "policies",
    "broker",
    "auth",
    "limits",
    "log",
    "dataDir",
  ]
  for (const key of keys) {
    for (const value of values) {
      try {
        loadData({ [key]: value })
      } catch (error) {
        t.true(error instanceof TidegateError, `${key}: ${JSON.stringify(value)}: ${String(error)}`)
      }
    }
  }
  t.is(tcp().tcp, true)
})

test("says what is wrong with dtls", async (t) => {
  const found = await problemsOf(`listeners:
  - { address: "tcp://127.0.0.1:0", dtls: { psk: [{ identity: a, key: b }] } }
  - { address: "udp://127.0.0.1:0", protocols: [dtls] }
`)
  t.regex(found.join("\n"), /a tcp listener has no DTLS/)
  t.regex(found.join("\n"), /"dtls" where "dtls" says its keys/)
  const deeper = await problemsOf(`listeners:
  - { address: "udp://127.0.0.1:5684", dtls: {} }
  - { address: "udp://127.0.0.1:5685", dtls: { psk: [{ identity: a, key: "${"k".repeat(33)}" }] } }
`)
  t.regex(deeper.join("\n"), /proves nothing/)
  t.regex(deeper.join("\n"), /longer than 32 bytes/)
})

test("says what is wrong with oscore, and hides its secrets", async (t) => {
  const found = await problemsOf(`listeners:
  - { address: "tcp://127.0.0.1:0", protocols: [coap-tcp], oscore: [] }
  - { address: "udp://127.0.0.1:0", protocols: [oscore] }
`)
  for (const index of [0, 1])
    t.regex(
      found.join("\n"),
      new RegExp(`listeners\\[${index}\\].protocols: names "oscore" where "oscore" says its contexts`),
    )
  const same = { name: "a", masterSecret: "b", senderId: "01", recipientId: "02" }
  const twice = [same, { ...same, name: "c" }, { ...same, recipientId: "01" }]
  const deeper = await problemsOf(`listeners: ${JSON.stringify([{ address: "udp://127.0.0.1:5684", oscore: twice }])}`)
  t.regex(deeper.join("\n"), /recipientId: stands twice/)
  t.regex(deeper.join("\n"), /is the same as senderId/)
  const listeners = ["udp://127.0.0.1:5684", "udp://127.0.0.1:5685"].map((address) => ({ address, oscore: [same] }))
  const again = (await problemsOf(`dataDir: false\nlisteners: ${JSON.stringify(listeners)}`)).join("\n")
  t.regex(again, /listeners\[1\]\.oscore\[0\]: stands at listeners\[0\], too/)
  t.regex(again, /listeners\[0\]\.oscore: needs a data directory/)
  t.deepEqual(redact({ oscore: [same] }), { oscore: [{ ...same, masterSecret: HIDDEN }] })
})

test("asks for keys of dtls only where a listener and a policy say so", async (t) => {
  const listener = (more: string): string =>
    `listeners:\n  - { address: "udp://127.0.0.1:5684", protocols: [dtls], dtls: { ${more} } }\n`
  const hooks = "broker: { hooks: { onPsk: [missing] } }\n"
  const [alone, unasked, missing] = await Promise.all(
    [
      listener("askForKey: true"),
      `${listener("psk: [{ identity: a, key: b }]")}${hooks}`,
      `${listener("askForKey: true")}${hooks}`,
    ].map((text) => problemsOf(text)),
  )
  t.regex(String(alone), /nobody is asked: broker.hooks.onPsk is empty/)
  t.regex(String(unasked), /no listener asks: say "askForKey: true"/)
  t.regex(String(missing), /policy "missing" does not exist/)
  t.notRegex(String(missing), /proves nothing|nobody is asked/)
})

test("hides the keys of dtls and shows its files", (t) => {
  const psk = [{ identity: "a", key: "b", keyHex: "62" }]
  t.deepEqual(redact({ dtls: { psk, key: "file.pem" } }), {
    dtls: { psk: [{ identity: "a", key: HIDDEN, keyHex: HIDDEN }], key: "file.pem" },
  })
})
