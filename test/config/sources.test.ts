/** One contract for every source of configurations: first document, next one, a bad one, a fault, a restart without it. */
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test, { type ExecutionContext } from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { ConfigDesk, createLoadedGateway, initialConfig } from "../../src/gateway/index.ts"
import { FakeNative } from "../../src/native/index.ts"
import { has } from "../e2e/run-gateway.ts"
import { until } from "../gateway/start.ts"
import { postgresPrograms } from "../registry/servers.ts"
import { consulWorld, etcdWorld, kubernetesWorld, natsWorld, postgresWorld, sqliteWorld, type World } from "./worlds.ts"

const document = (path: string): string =>
  `workers: 1\nroutes:\n  - { when: { path: ${path} }, to: { respond: { status: 200 } } }\n`

/** A gateway whose file says no more than where its configuration is. */
async function open(t: ExecutionContext, file: string, waitMs = 60_000) {
  const fromFile = await loadConfig(file)
  const { loaded, origin, document, refused } = await initialConfig(fromFile, waitMs)
  const native = new FakeNative()
  const gateway = createLoadedGateway(loaded, { native })
  const warnings: string[] = []
  gateway.on("log", ({ text }) => warnings.push(text))
  await gateway.start()
  const desk = new ConfigDesk({ gateway, fromFile, origin, document })
  const told: unknown[] = []
  void desk.watch((error) => told.push(error))
  const close = async () => {
    await desk.close()
    await gateway.close()
  }
  t.teardown(close)
  const path = () => native.gateway.plan?.routes[0]?.when.path?.value
  return { gateway, desk, told, warnings, refused, close, path }
}

function fileOf(source: object): string {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), "tidegate.config.json")
  writeFileSync(file, JSON.stringify({ admin: false, workers: 1, configSource: { intervalMs: 150, ...source } }))
  return file
}

const WORLDS: readonly { name: string; open: () => Promise<World>; isHere: boolean }[] = [
  { name: "sqlite", open: sqliteWorld, isHere: true },
  { name: "postgres", open: postgresWorld, isHere: postgresPrograms() !== null || has("postgres", "postgresql") },
  { name: "consul", open: consulWorld, isHere: true },
  { name: "etcd", open: etcdWorld, isHere: has("etcd", "etcd-server") },
  { name: "kubernetes", open: kubernetesWorld, isHere: true },
  { name: "nats", open: natsWorld, isHere: has("nats-server", "nats-server") },
]

for (const { name, open: openWorld, isHere } of WORLDS.filter(({ isHere }) => isHere)) {
  test(`${name}: a document is applied, the next one too, a bad one and a fault change nothing`, async (t) => {
    t.true(isHere)
    const world = await openWorld()
    t.teardown(() => world.close())
    await world.set(document("/one"))
    const file = fileOf(world.source)
    const first = await open(t, file)
    t.deepEqual([first.path(), first.refused], ["/one", null], "before it listens")

    await world.set(JSON.stringify({ routes: [{ when: { path: "/two" }, to: { respond: { status: 204 } } }] }))
    // In force first, then remembered.
    await until(() => first.path() === "/two" && first.desk.versions.length > 1)
    t.deepEqual(
      first.desk.versions.map(({ origin }) => origin),
      ["source", "source"],
    )

    await world.set("routes: [{ when: { path: /three }, to: nowhere }]")
    await until(() => first.told.some((error) => error !== null))
    t.is(first.path(), "/two")

    await world.fail()
    await until(() => first.warnings.some((text) => /source \w+ of the configuration failed/.test(text)))
    t.is(first.path(), "/two")
    await first.close()

    const second = await open(t, file)
    t.is(second.path(), "/two", "the last good one, while the source is away")
    await world.mend()
    await world.set(document("/four"))
    await until(() => second.path() === "/four")
    await second.desk.put({ workers: 1, routes: [{ when: { path: "/put" }, to: { respond: { status: 200 } } }] })
    t.is(second.path(), "/put", "what was put wins until the source changes")
    await second.close()

    const third = await open(t, file)
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.is(third.path(), "/put", "also over a restart")
    await world.set(document("/five"))
    await until(() => third.path() === "/five")
  })
}

test("a source that cannot be reached at the first start leaves what the file says", async (t) => {
  const { path, refused } = await open(t, fileOf({ consul: { url: "http://127.0.0.1:9", key: "a" } }), 10_000)
  t.is(path(), undefined)
  t.regex(refused ?? "", /the source consul of the configuration: .*ECONNREFUSED/)
})

test("exactly one kind", async (t) => {
  const both = { consul: { url: "http://127.0.0.1:9", key: "a" }, etcd: { url: "http://127.0.0.1:9", key: "a" } }
  await t.throwsAsync(loadConfig(fileOf(both)), { message: /exactly one of sqlite, postgres/ })
})
