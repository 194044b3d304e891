/** The registry by gRPC: grpc-js as client of the published .proto, in the clear and in TLS, beside the REST API on one port. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { connect as connectHttp2 } from "node:http2"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import ava from "ava"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const { status } = grpc
const proto = fileURLToPath(new URL("../../dist/registry.proto", import.meta.url))
const loaded = grpc.loadPackageDefinition(loadSync(proto, { keepCase: true, enums: String, defaults: true }))
const { tidegate } = loaded as unknown as {
  tidegate: { registry: { v1: { Registry: grpc.ServiceClientConstructor } } }
}
const { Registry } = tidegate.registry.v1

interface Instance {
  readonly service: string
  readonly id: string
  readonly status: string
  readonly load: { readonly cpu: number } | null
  readonly registration: {
    readonly host: string
    readonly port: number
    readonly weight: number
    readonly zone?: string
  }
}
interface Answer {
  readonly created: boolean
  readonly instance: Instance
  readonly instances: readonly Instance[]
  readonly services: readonly { readonly name: string; readonly instances: number; readonly healthy: number }[]
}

let gateway: Running
let client: grpc.Client

/** One call; its error is what went wrong. */
function ask(name: string, request: object, { on = client, token = "s3cret" } = {}): Promise<Answer> {
  const metadata = new grpc.Metadata()
  if (token !== "") metadata.set("authorization", `Bearer ${token}`)
  const method = Registry.service[name]
  if (method === undefined) throw new Error(name)
  return new Promise((resolve, reject) => {
    const done = (error: grpc.ServiceError | null, answer?: Answer): void =>
      error ? reject(error) : resolve(answer as Answer)
    on.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, metadata, done)
  })
}

const rest = (path: string, init: RequestInit = {}) =>
  fetch(`${gateway.admin}${path}`, {
    ...init,
    headers: { authorization: "Bearer s3cret", "content-type": "application/json" },
  })

ava.before(async () => {
  const admin = { address: "127.0.0.1:0", token: "s3cret", readToken: "l00k" }
  gateway = await runGateway({
    admin,
    upstreams: { api: { service: "api" } },
    routes: [{ when: { path: "/a" }, to: "api" }],
  })
  client = new Registry(new URL(gateway.admin).host, grpc.credentials.createInsecure())
})

ava.after.always(async () => {
  client?.close()
  await gateway?.stop()
})

test("what gRPC registers is what REST shows, and back", async (t) => {
  const registration = { host: "127.0.0.1", port: 9_000, zone: "north", metadata: { rack: "7" }, ttl_seconds: 60 }
  const first = await ask("Register", { service: "api", id: "a1", registration })
  t.true(first.created)
  t.is(first.instance.status, "STATUS_UNKNOWN")
  t.is(first.instance.registration.weight, 1, "the default")
  t.false((await ask("Register", { service: "api", id: "a1", registration })).created)
  const { items } = (await (await rest("/v1/services/api/instances")).json()) as { items: object[] }
  t.like(items[0], {
    id: "a1",
    zone: "north",
    version: null,
    metadata: { rack: "7" },
    ttlSeconds: 60,
    protocol: "http",
  })

  await ask("Heartbeat", { service: "api", id: "a1", load: { active: 1, max: 10, cpu: 5.5, memory: 1 } })
  await rest("/v1/services/api/instances/a2", {
    method: "PUT",
    body: JSON.stringify({ host: "127.0.0.1", port: 9_001 }),
  })
  const { instances } = await ask("Discover", { service: "api" })
  t.deepEqual(
    instances.map(({ id, load }) => [id, load?.cpu]),
    [
      ["a1", 5.5],
      ["a2", undefined],
    ],
  )
  t.deepEqual(
    (await ask("Discover", { service: "api", zone: "north" })).instances.map(({ id }) => id),
    ["a1"],
  )
  t.deepEqual(
    (await ask("Discover", { service: "api", healthy: true })).instances.map(({ id }) => id),
    ["a1"],
  )
  t.deepEqual((await ask("Discover", { service: "nobody" })).instances, [])
  t.like((await ask("ListServices", {})).services[0], { name: "api", instances: 2, healthy: 1 })

  const drained = await ask("Update", { service: "api", id: "a2", weight: 3, status: "STATUS_DRAINING" })
  t.like(drained.instance, { status: "STATUS_DRAINING", registration: { port: 9_001, weight: 3 } })
  await ask("Deregister", { service: "api", id: "a2" })
  t.is((await ask("Discover", { service: "api" })).instances.length, 1)
})

test("a watcher gets all at once and every change, and costs nothing when it is gone", async (t) => {
  const metadata = new grpc.Metadata()
  metadata.set("authorization", "Bearer l00k")
  const { path, requestSerialize, responseDeserialize } = Registry.service.Watch as grpc.MethodDefinition<
    object,
    Answer
  >
  const watch = client.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    { service: "watched" },
    metadata,
  )
  watch.on("error", () => undefined)
  const next = async (): Promise<string[]> => {
    const [answer] = (await once(watch, "data")) as [Answer]
    return answer.instances.map(({ id, status: state }) => `${id} ${state}`)
  }
  t.deepEqual(await next(), [])
  const body = JSON.stringify({ host: "127.0.0.1", port: 9_002, ttlSeconds: 1 })
  let told = next()
  await rest("/v1/services/watched/instances/w1", { method: "PUT", body })
  t.deepEqual(await told, ["w1 STATUS_UNKNOWN"])
  told = next()
  await rest("/v1/services/watched/instances/w1/heartbeat", { method: "POST" })
  t.deepEqual(await told, ["w1 STATUS_HEALTHY"])
  t.deepEqual(await next(), [], "its time was up")
  watch.cancel()
})

test("what is wrong is said with its place, and who may not is told so", async (t) => {
  const registration = { host: "127.0.0.1", port: 70_000, weight: 2_000 }
  const invalid = await t.throwsAsync(ask("Register", { service: "api", id: "x", registration }))
  t.like(invalid, { code: status.INVALID_ARGUMENT })
  // grpc-js undoes the percent-encoding of the message only in part.
  t.regex(
    decodeURIComponent(invalid?.message ?? ""),
    /registration\.port: must be <= 65535; registration\.weight: must be <= 1000/,
  )
  t.like(await t.throwsAsync(ask("Register", { service: "a b", id: "x", registration })), {
    code: status.INVALID_ARGUMENT,
  })
  t.like(await t.throwsAsync(ask("Register", { service: "api", id: "x" })), { code: status.INVALID_ARGUMENT })
  t.like(await t.throwsAsync(ask("Heartbeat", { service: "api", id: "nobody" })), { code: status.NOT_FOUND })
  t.like(await t.throwsAsync(ask("Discover", { service: "api" }, { token: "" })), { code: status.UNAUTHENTICATED })
  const address = { service: "api", id: "a1" }
  t.like(await t.throwsAsync(ask("Deregister", address, { token: "l00k" })), { code: status.PERMISSION_DENIED })
  t.is((await ask("Discover", { service: "api" }, { token: "l00k" })).instances.length, 1)
})

test("the audit log names the caller, the call and the instance", async (t) => {
  const { items } = (await (await rest("/v1/audit?limit=100")).json()) as { items: Record<string, unknown>[] }
  const told = items.map(({ caller, method, path, status: code }) => `${caller} ${method} ${path} ${code}`)
  for (const line of [
    "token gRPC Register /v1/services/api/instances/a1 200",
    "token gRPC Deregister /v1/services/api/instances/a2 200",
    "readToken gRPC Deregister /v1/services/api/instances/a1 403",
    "token gRPC Register /v1/services/api/instances/x 400",
  ])
    t.true(told.includes(line), `${line}\n${told.join("\n")}`)
  t.false(
    told.some((line) => /Heartbeat|Discover|Watch/.test(line)),
    "which change nothing",
  )
})

test("the Connect protocol by curl, and REST over HTTP/2", async (t) => {
  const json = ["-s", "-H", "authorization: Bearer s3cret", "-H", "content-type: application/json"]
  const url = `${gateway.admin}/tidegate.registry.v1.Registry/Discover`
  const { out } = await run("curl", [...json, "-d", '{"service":"api"}', url])
  t.is((JSON.parse(out) as Answer).instances[0]?.id, "a1")
  const format = "%{http_code} %{http_version}"
  const h2 = await run("curl", [
    ...json,
    "--http2-prior-knowledge",
    "-o",
    "/dev/null",
    "-w",
    format,
    `${gateway.admin}/v1/services`,
  ])
  t.is(h2.out, "200 2")
  const h1 = await run("curl", ["-s", "--http2", "-o", "/dev/null", "-w", format, `${gateway.admin}/health`])
  t.is(h1.out, "200 1.1", "an upgrade is not taken")
})

test("a preface that comes byte by byte is one, and its like is not", async (t) => {
  const { hostname, port } = new URL(gateway.admin)
  for (const [text, pattern] of [
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", /^\0\0/],
    ["PROPFIND / HTTP/1.1\r\nhost: localhost\r\n\r\n", /^HTTP\/1\.1 4/],
  ] as const) {
    const socket = connect(Number(port), hostname)
    t.teardown(() => socket.destroy())
    let answer = ""
    socket.setEncoding("latin1").on("data", (data: string) => {
      answer += data
    })
    for (const byte of text) {
      socket.write(byte, "latin1")
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    while (answer.length < 9) await once(socket, "data")
    t.regex(answer, pattern)
  }
})

test("in TLS both versions share the port, and a certificate is a caller", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-grpc-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = (name: string): string => join(folder, name)
  const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
  for (const more of [["--client", "operator"], []])
    spawnSync(process.execPath, [command, "cert", "dev", "--dir", folder, ...more])
  const tls = { cert: file("dev.pem"), key: file("dev.key"), clientAuth: { ca: file("dev-ca.pem"), mode: "request" } }
  const secure = await runGateway({ admin: { address: "127.0.0.1:0", token: "s3cret", tls } })
  t.teardown(() => secure.stop())
  const [ca, key, cert] = ["dev-ca.pem", "operator.key", "operator.pem"].map((name) => readFileSync(file(name)))
  const named = grpc.credentials.createSsl(ca ?? null, key ?? null, cert ?? null)
  const on = new Registry(new URL(secure.admin).host, named)
  t.teardown(() => on.close())
  const registration = { host: "127.0.0.1", port: 9_000 }
  t.true((await ask("Register", { service: "api", id: "a1", registration }, { on, token: "" })).created)
  const { out } = await run("curl", [
    "-s",
    "--http1.1",
    "--cacert",
    file("dev-ca.pem"),
    "-H",
    "authorization: Bearer s3cret",
    `${secure.admin}/v1/audit`,
  ])
  t.regex(out, /"caller":"CN=operator","role":"admin".*"method":"gRPC Register"/)
})

test("the gateway ends while watchers and idle connections stay", async (t) => {
  const other = await runGateway({ admin: { address: "127.0.0.1:0" } })
  const on = new Registry(new URL(other.admin).host, grpc.credentials.createInsecure())
  t.teardown(() => on.close())
  const { path, requestSerialize, responseDeserialize } = Registry.service.Watch as grpc.MethodDefinition<
    object,
    Answer
  >
  const watch = on.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    { service: "api" },
    new grpc.Metadata(),
  )
  const ended = once(watch, "error")
  await once(watch, "data")
  const idle = connectHttp2(other.admin)
  idle.on("error", () => undefined)
  await once(idle, "connect")
  const silent = connect(Number(new URL(other.admin).port), "127.0.0.1")
  silent.on("error", () => undefined)
  await once(silent, "connect")
  t.is(await other.stop(), 0)
  await ended.catch(() => undefined)
  silent.destroy()
  idle.destroy()
})
