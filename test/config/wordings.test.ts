/** What a wrong configuration is told: where it stands, what is wrong, what would be right. */
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { TidegateError } from "../../src/errors.ts"

async function toldOf(text: string | Buffer, name = "tidegate.config.yaml"): Promise<readonly string[]> {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), name)
  writeFileSync(file, text)
  try {
    await loadConfig(file)
    return []
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    if (error.problems.length > 0 && error.file !== file) throw error
    return error.problems.map(({ path, message, line }) => [line, path, message].filter(Boolean).join(": "))
  }
}

const ROUTE = "{ when: { path: /a }, to: { respond: { status: 200 } } }"
const API = 'upstreams: { api: { endpoints: ["127.0.0.1:9000"] } }\n'

const TEXTS: readonly (readonly [text: string, told: string])[] = [
  ["workers: 1\nworkers: 2\n", "2: workers stands here twice"],
  ["workers: 1\n---\nworkers: 2\n", "2: a second document begins here: a configuration is one, without a line ---"],
  ["workers: 1\nupstreams: { api: *nope }\n", "2: *nope stands for nothing: there is no &nope before it"],
  ["listeners: [tcp]\n", "1: listeners[0]: expected object with address, protocols, anonymous, proxyProtocolFrom"],
  ["routes: [{ when: { topic: '' }, to: a }]\n", "1: routes[0].when.topic: must not be empty"],
  [
    'upstreams: { api: { endpoints: ["127.0.0.1:9"], health: { http: healthz } } }\n',
    '1: upstreams.api.health.http: expected a path, which begins with /, got "healthz"',
  ],
  ['tracing: { endpoint: "127.0.0.1:4318" }\n', "1: tracing.endpoint: expected a URL, http:// or https://"],
  [
    `routes: [${ROUTE.replace("/a", '{ regex: "/a(" }')}]\n`,
    '1: routes[0].when.path: "/a(" is no regular expression: ',
  ],
  [`routes: [${ROUTE.replace("/a", '"/{a}/{a}"')}]\n`, '1: routes[0].when.path: "{a}" stands there twice'],
  [`routes: [${ROUTE.replace("path: /a", 'host: "http://a.example"')}]\n`, "1: routes[0].when.host: "],
  [`routes: [${ROUTE.replace("path: /a", 'host: "a.*.example"')}]\n`, "1: routes[0].when.host: "],
  [
    `${API}routes: [{ when: { path: "/{id}" }, to: api, use: [{ rewrite: { path: "/items/{ids}" } }] }]\n`,
    '2: routes[0].use[0].rewrite.path: "{ids}" stands for nothing here; did you mean "id"?',
  ],
  [
    `${API}routes: [{ when: { path: "/{id}" }, to: api, use: [{ rewrite: { path: "/items/{id" } }] }]\n`,
    '2: routes[0].use[0].rewrite.path: "/items/{id" has a "{" without its other brace',
  ],
  ["routes: [{ when: { topic: a }, to: { topic: 'b/{topi}' } }]\n", '1: routes[0].to.topic: "{topi}" stands for'],
  [
    "routes: [{ when: { path: /a }, to: { redirect: { location: '/{what}' } } }]\n",
    "1: routes[0].to.redirect.location",
  ],
  [
    `${API}routes: [{ when: { path: /a }, to: api, use: [{ setHeader: { "x a": b } }] }]\n`,
    '2: routes[0].use[0].setHeader["x a"]: "x a" is no header name',
  ],
  [
    `${API}routes: [{ when: { path: /a }, to: api, use: [timeout] }]\n`,
    '2: routes[0].use[0]: the step "timeout" stands with its options: { timeout: { ... } }',
  ],
  [
    `${API}auth: { http: { upstream: apo } }\n`,
    '2: auth.http.upstream: upstream "apo" does not exist; did you mean "api"?',
  ],
  ["policies: ./nowhere.ts\n", "1: policies: ./nowhere.ts does not exist"],
]

for (const [index, [text, told]] of TEXTS.entries()) {
  test(`${index + 1}: tells ${told}`, async (t) => {
    const found = await toldOf(text)
    t.true(
      found.some((line) => line.startsWith(told)),
      found.join("\n"),
    )
  })
}

test("takes what templates may use", async (t) => {
  const rewrites = ["/{id}/{rest}?{query}", "/{topic}", "/{host}{path}"].map((path) => ({ rewrite: { path } }))
  const routes = [
    { when: { path: "/a/{id}/**" }, to: "api", use: rewrites },
    { when: { path: { regex: "/(?P<one>.)/(?<two>.)" } }, to: { redirect: { location: "/{one}/{two}" } } },
    { when: { path: "/json" }, to: { respond: { body: '{"a":{"b":1}}' } } },
  ]
  t.deepEqual(await toldOf(`${API}routes: ${JSON.stringify(routes)}\n`), [])
})

test("a program that fails, whenever it does, is told with its line", async (t) => {
  const name = "tidegate.config.ts"
  t.deepEqual(await toldOf('export default async () => {\n  throw new Error("no vault")\n}\n', name), ["2: no vault"])
  const absent = 'import { nosuch } from "tidegate"\n\nexport default nosuch()\n'
  t.deepEqual(await toldOf(absent, name), ["3: nosuch is not a function"])
  const promised = 'export default Promise.resolve({ workers: "many" })\n'
  t.deepEqual(await toldOf(promised, name), ['1: workers: expected integer, got "many"'])
})

test("what is most often not meant is a warning, with its line", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.yaml")
  writeFileSync(
    file,
    `bridges: { site: { to: "mqtt://127.0.0.1:1883" } }
routes:
  - { when: { path: "/here/**" }, to: { directory: . } }
  - { when: { path: "/gone/**" }, to: { directory: ./public } }
`,
  )
  const { warnings } = await loadConfig(file)
  t.deepEqual(warnings, [
    {
      path: "routes[1].to.directory",
      message: `${join(folder, "public")} does not exist: every answer is 404`,
      line: 4,
      severity: "warning",
    },
    { path: "bridges.site", message: 'says neither "in" nor "out": nothing crosses it', line: 1, severity: "warning" },
  ])
})

test("a file that is no text, of another kind or a folder is told as that", async (t) => {
  t.deepEqual(await toldOf(Buffer.from("upstreams: { k\xfcche: {} }\n", "latin1")), ["is no text in UTF-8"])
  for (const text of ["workers = 2\n", "[limits]\nmaxConnections = 2\n"])
    t.regex((await toldOf(text, "tidegate.config.toml"))[0] ?? "", /^is no YAML, and its name tells no other kind/)
  t.deepEqual(await toldOf("workers: 2\n", "tidegate.conf"), [])
  const error = await t.throwsAsync(loadConfig(mkdtempSync(join(tmpdir(), "tidegate-"))))
  t.regex(error?.message ?? "", /cannot be read: it is a folder$/)
})

test("a line is that of the key, not of a comment that names it", async (t) => {
  const text = `// upstreams: { api: { endpoints: [] } }
export default {
  /* routes: [
     to: "api" */
  upstreams: {
    // api: { endpoints: ["127.0.0.1:9000"] },
    api: { endpoints: ["tcp://127.0.0.1"] },
  },
}
`
  t.deepEqual(await toldOf(text, "tidegate.config.ts"), [
    '7: upstreams.api.endpoints[0]: "tcp://127.0.0.1" is not HOST:PORT',
  ])
})
