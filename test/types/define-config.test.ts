/** The types of a configuration: what is wrong is red in the editor. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import test from "ava"
import {
  createGateway,
  defineConfig,
  definePolicy,
  handler,
  path,
  respond,
  retry,
  topic,
  toTopic,
} from "../../src/index.ts"

const tenant = definePolicy<{ header?: string }>({
  name: "tenant",
  order: 10,
  deadlineMs: 5,
  fallback: "continue",
  filter: ({ header = "x-tenant" }) => path("/api/**").withHeader(header),
  decide: (message, { header = "x-tenant" }) => ({ hashKey: message.header(header) }),
})

/** Never run: the compiler is what is tested. */
function wrong(): void {
  defineConfig({
    upstreams: { api: { endpoints: ["127.0.0.1:9000"] } },
    routes: [
      { when: path("/a"), to: "api", use: [tenant({ header: "x" }), retry({ attempts: 2 })], mirror: "api" },
      { when: path("/b"), to: [{ upstream: "api", weight: 1 }] },
      { when: path("/c"), to: respond(200) },
      { when: topic("a/+"), to: toTopic("b") },
      { when: topic("a/+"), to: handler("events") },
      // @ts-expect-error there is no upstream of that name
      { when: path("/d"), to: "apii" },
      // @ts-expect-error nor in a split
      { when: path("/e"), to: [{ upstream: "apii" }] },
      // @ts-expect-error nor for a copy
      { when: path("/f"), to: "api", mirror: "apii" },
      // @ts-expect-error there is no such condition
      { when: { pathe: "/g" }, to: "api" },
    ],
  })
  // @ts-expect-error a policy's options are typed
  tenant({ headr: "x" })
  // @ts-expect-error so are a step's
  retry({ attempts: "2" })
  // @ts-expect-error and a verdict
  definePolicy({ name: "a", decide: () => ({ rejekt: true }) })
  // @ts-expect-error and a gateway inside a program
  void createGateway({ upstreams: { api: {} }, routes: [{ when: path("/"), to: "b" }] })
}

test("the compiler finds exactly the mistakes that are marked", (t) => {
  const root = fileURLToPath(new URL("../../", import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "test/types"], {
    cwd: root,
    encoding: "utf8",
  })
  t.is(status, 0, stdout)
  t.is(typeof wrong, "function")
})
