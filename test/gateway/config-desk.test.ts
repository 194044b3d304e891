/** Which configuration is in force: the file, what was put, the way back, over restarts. */
import { existsSync, mkdtempSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test, { type ExecutionContext } from "ava"
import { DataDir, loadConfig } from "../../src/config/index.ts"
import { ConfigDesk, createLoadedGateway, initialConfig } from "../../src/gateway/index.ts"
import { FakeNative } from "../../src/native/index.ts"
import { until } from "./start.ts"

const yaml = (path: string): string =>
  `workers: 1\nroutes: [{ when: { path: ${path} }, to: { respond: { status: 200 } } }]\n`

function write(text = yaml("/file")): string {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), "tidegate.config.yaml")
  writeFileSync(file, text)
  return file
}

async function open(t: ExecutionContext, file: string) {
  const fromFile = await loadConfig(file)
  const { loaded, origin, document } = await initialConfig(fromFile)
  const native = new FakeNative()
  const gateway = createLoadedGateway(loaded, { native })
  await gateway.start()
  const desk = new ConfigDesk({ gateway, fromFile, origin, document })
  const close = async () => {
    await desk.close()
    await gateway.close()
  }
  t.teardown(close)
  return { gateway, desk, close, path: () => native.gateway.plan?.routes[0]?.when.path?.value }
}

const put = (path: string) => ({ workers: 1, routes: [{ when: { path }, to: { respond: { status: 200 } } }] })

test("what was put wins over the file and survives a restart, until the file changes", async (t) => {
  const file = write()
  const first = await open(t, file)
  await first.desk.put(put("/put"))
  t.is(first.path(), "/put")
  await first.close()
  const second = await open(t, file)
  t.is(second.path(), "/put")
  await second.close()
  writeFileSync(file, yaml("/changed"))
  const third = await open(t, file)
  t.is(third.path(), "/changed")
})

test("what is in force and not remembered yet is what a rollback goes back from, and is not lost by a stop", async (t) => {
  const file = write()
  const { desk, path, close } = await open(t, file)
  await desk.put(put("/one"))
  // So long that it takes turns to be remembered.
  const more = Array.from({ length: 5_000 }, (_, index) => put(`/more/${index}`).routes[0])
  const long = (first: string) => ({ ...put(first), routes: [...put(first).routes, ...more] })
  const two = desk.put(long("/two"))
  await until(() => path() === "/two")
  const back = desk.rollback()
  await two
  await back
  t.is(path(), "/one")
  const three = desk.put(long("/three"))
  await until(() => path() === "/three")
  await close()
  await three
  t.is((await open(t, file)).path(), "/three")
})

test("a rollback goes back, a second one further back", async (t) => {
  const { desk, path } = await open(t, write())
  await desk.put(put("/one"))
  await desk.put(put("/two"))
  await desk.rollback()
  t.is(path(), "/one")
  await desk.rollback()
  t.is(path(), "/file")
  await t.throwsAsync(desk.rollback(), { code: "CONFIG_NO_PREVIOUS" })
})

test("follows the file, whether it is written or replaced, and tells of a bad one", async (t) => {
  const file = write()
  const { desk, path } = await open(t, file)
  const told: unknown[] = []
  void desk.watch((error) => told.push(error))
  writeFileSync(file, yaml("/written"))
  await until(() => path() === "/written")
  writeFileSync(`${file}.new`, yaml("/replaced"))
  renameSync(`${file}.new`, file)
  await until(() => path() === "/replaced")
  writeFileSync(file, "routes: 5\n")
  await until(() => told.some((error) => error !== null))
  t.is(path(), "/replaced")
})

test("the data directory is private, locked and has a format", async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), "tidegate-")), "data")
  const dir = new DataDir(path)
  t.is(statSync(path).mode & 0o777, 0o700)
  t.is(readFileSync(join(path, "format"), "utf8"), "1\n")
  t.throws(() => new DataDir(path), { code: "DATA_DIR_LOCKED" })
  dir.close()
  t.false(existsSync(join(path, "lock")))
  writeFileSync(join(path, "lock"), "999999999")
  const after = new DataDir(path)
  after.close()
  writeFileSync(join(path, "format"), "99\n")
  t.throws(() => new DataDir(path), { code: "DATA_DIR_VERSION" })
})

test("a data directory that cannot be written is an error of the environment", (t) => {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), "file")
  writeFileSync(file, "")
  const error = t.throws(() => new DataDir(join(file, "data")), { code: "DATA_DIR_UNWRITABLE" })
  t.is((error as { exitCode?: number } | undefined)?.exitCode, 2)
  // A folder that exists and takes nothing, not even from root.
  if (process.platform === "linux") t.throws(() => new DataDir("/proc/tidegate/data"), { code: "DATA_DIR_UNWRITABLE" })
})

test("what is put may keep a command that the file names, not bring one", async (t) => {
  const upstreams = (command: string[]) => ({ api: { endpoints: ["127.0.0.1:1"], health: { command } } })
  const { desk } = await open(t, write(`upstreams: ${JSON.stringify(upstreams(["true"]))}\n`))
  await t.notThrowsAsync(desk.put({ workers: 1, upstreams: upstreams(["true"]) }))
  const error = await t.throwsAsync<Error & { problems: readonly { path: string }[] }>(
    desk.put({ workers: 1, upstreams: upstreams(["true", "--more"]) }),
    { code: "CONFIG_INVALID" },
  )
  t.is(error?.problems[0]?.path, "upstreams.api.health.command")
})
