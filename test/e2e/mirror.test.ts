/** Copies of requests for a mirror: short and long ones whole, and none that the request would have to wait for. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { request } from "node:http"
import { connect as connectHttp2 } from "node:http2"
import type { AddressInfo, Socket } from "node:net"
import { connect, createServer } from "node:net"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

interface Seen {
  readonly line: string
  readonly length: string | undefined
  readonly bytes: number
  readonly hash: string
  readonly trailer: string | undefined
}

/** A service that remembers what it got. */
async function service(t: ExecutionContext, answer: Buffer | string = "ok") {
  const seen: Seen[] = []
  let begun = 0
  const { server, address } = await upstream((incoming, response) => {
    const hash = createHash("sha256")
    let bytes = 0
    incoming.on("data", (data: Buffer) => {
      hash.update(data)
      bytes += data.length
      begun += data.length
    })
    incoming.on("end", () => {
      const line = `${incoming.method} ${incoming.url}`
      const trailer = incoming.trailers["x-sum"]
      seen.push({ line, length: incoming.headers["content-length"], bytes, hash: hash.digest("hex"), trailer })
      response.end(answer)
    })
    incoming.on("error", () => undefined)
  })
  t.teardown(() => server.close())
  return { address, seen, begun: () => begun }
}

const configOf = ([to, mirror]: [string, string], limits: object) => ({
  workers: 1,
  upstreams: { to: { endpoints: [to] }, mirror: { endpoints: [mirror], outlier: false } },
  routes: [{ when: { path: "/**" }, to: "to", mirror: "mirror" }],
  limits,
})

async function gatewayOf(t: ExecutionContext, upstreams: [string, string], limits = {}): Promise<Running> {
  const gateway = await runGateway(configOf(upstreams, limits))
  t.teardown(() => gateway.stop())
  return gateway
}

async function until(what: () => boolean | Promise<boolean>, why: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await what())) {
    if (Date.now() > end) throw new Error(why)
    await sleep(20)
  }
}

async function dropped({ admin }: Running, reason: string): Promise<number> {
  const metrics = await (await fetch(`${admin}/metrics`)).text()
  const line = new RegExp(`^tidegate_dropped_total\\{[^}]*reason="${reason}"[^}]*\\} (.+)$`, "m")
  return Number(line.exec(metrics)?.[1] ?? 0)
}

async function send(gateway: Running, method: string, body: Buffer, chunked = false): Promise<string> {
  const headers = chunked ? { "transfer-encoding": "chunked", trailer: "x-sum" } : { "content-length": body.length }
  const call = request({ port: gateway.port, host: "127.0.0.1", method, path: `/${method}`, headers })
  if (chunked) call.addTrailers({ "x-sum": "5" })
  call.end(body)
  const [answer] = (await once(call, "response")) as [IncomingMessage]
  return await text(answer)
}

test("requests of any length are copied whole, whatever the framing and the client's version", async (t) => {
  const [own, mirror] = [await service(t), await service(t, Buffer.alloc(3 << 20))]
  const gateway = await gatewayOf(t, [own.address, mirror.address])
  const long = randomBytes(700_000)
  t.is(await send(gateway, "GET", Buffer.alloc(0)), "ok")
  t.is(await send(gateway, "POST", randomBytes(1_000)), "ok")
  t.is(await send(gateway, "PUT", long), "ok")
  t.is(await send(gateway, "PATCH", long, true), "ok")
  const session = connectHttp2(`http://127.0.0.1:${gateway.port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ":method": "POST", ":path": "/h2" })
  stream.end(long)
  t.is(await text(stream), "ok")
  await until(() => mirror.seen.length === 5, `the mirror saw ${JSON.stringify(mirror.seen)}`)
  const sorted = ({ seen }: { seen: Seen[] }) => [...seen].sort((a, b) => (a.line < b.line ? -1 : 1))
  t.deepEqual(sorted(mirror), sorted(own))
  t.is(own.seen.find(({ line }) => line === "PATCH /PATCH")?.trailer, "5")
  for (const reason of ["mirror-overflow", "mirror-too-slow", "mirror-cut-off"]) t.is(await dropped(gateway, reason), 0)
})

/** A mirror that takes connections and reads nothing of them. */
async function idleMirror(t: ExecutionContext) {
  const sockets: Socket[] = []
  const idle = createServer((socket) => {
    sockets.push(socket.on("error", () => undefined).pause())
  }).listen(0, "127.0.0.1")
  await once(idle, "listening")
  t.teardown(() => {
    idle.close()
    for (const socket of sockets) socket.destroy()
  })
  return { sockets, address: `127.0.0.1:${(idle.address() as AddressInfo).port}` }
}

test("a mirror that takes nothing loses its copy, and the request does not wait for it", async (t) => {
  const own = await service(t)
  const { sockets, address } = await idleMirror(t)
  const gateway = await gatewayOf(t, [own.address, address])
  const long = randomBytes(48 << 20)
  t.is(await send(gateway, "PUT", long), "ok")
  t.is(own.seen[0]?.hash, createHash("sha256").update(long).digest("hex"))
  await until(async () => (await dropped(gateway, "mirror-too-slow")) === 1, "nothing was counted")
  // What it gets is no whole request: the connection ends first.
  const [socket] = sockets
  if (socket === undefined) throw new Error("the mirror was not asked")
  let got = 0
  socket.on("data", (data: Buffer) => {
    got += data.length
  })
  await Promise.all([once(socket, "close"), socket.resume()])
  t.true(got < long.length, `${got} bytes`)
  // The next request is copied again.
  sockets.length = 0
  t.is(await send(gateway, "PUT", randomBytes(100)), "ok")
  await until(() => sockets.length === 1, "the mirror got no other copy")
})

test("how many copies are under way is limits.mirrorCopies, also of a configuration that is applied later", async (t) => {
  const own = await service(t)
  const { sockets, address } = await idleMirror(t)
  const gateway = await gatewayOf(t, [own.address, address], { mirrorCopies: 1 })
  t.is(await send(gateway, "GET", Buffer.alloc(0)), "ok")
  await until(() => sockets.length === 1, "the mirror got no copy")
  t.is(await send(gateway, "GET", Buffer.alloc(0)), "ok")
  t.is(await dropped(gateway, "mirror-overflow"), 1)
  gateway.configure(configOf([own.address, address], { mirrorCopies: 2 }))
  const version = async () =>
    /^tidegate_config_version (\d+)/m.exec(await (await fetch(`${gateway.admin}/metrics`)).text())
  await until(async () => Number((await version())?.[1]) === 2, "the configuration was not applied")
  t.is(await send(gateway, "GET", Buffer.alloc(0)), "ok")
  await until(() => sockets.length === 2, "the mirror got no second copy")
  t.is(await dropped(gateway, "mirror-overflow"), 1)
})

test("what may wait for a mirror, and how long its answer may take, are limits, too", async (t) => {
  const own = await service(t)
  const long = randomBytes(24 << 20)
  const patient = await idleMirror(t)
  const roomy = await gatewayOf(t, [own.address, patient.address], {
    mirrorCopyBytes: 64 << 20,
    mirrorTotalBytes: 64 << 20,
    mirrorTimeoutMs: 500,
  })
  t.is(await send(roomy, "PUT", long), "ok")
  for (const reason of ["mirror-overflow", "mirror-too-slow"]) t.is(await dropped(roomy, reason), 0)
  await until(() => patient.sockets.length === 1, "the mirror got no copy")
  // Nothing answers: the copy ends by its time, well before the 15 s that it has by default.
  const begun = Date.now()
  const [socket] = patient.sockets
  if (socket === undefined) throw new Error("the mirror was not asked")
  socket.resume()
  await once(socket, "close")
  t.true(Date.now() - begun < 12_000)

  const tight = await idleMirror(t)
  const small = await gatewayOf(t, [own.address, tight.address], { mirrorTotalBytes: 256 << 10 })
  t.is(await send(small, "PUT", long), "ok")
  t.is(await dropped(small, "mirror-overflow"), 1)
  t.is(await dropped(small, "mirror-too-slow"), 0)
})

test("of a request that is broken off the mirror gets no end either", async (t) => {
  const [own, mirror] = [await service(t), await service(t)]
  const gateway = await gatewayOf(t, [own.address, mirror.address])
  const client = connect(gateway.port, "127.0.0.1")
  client.write("POST /half HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
  client.write(Buffer.alloc(500_000))
  await until(() => mirror.begun() > 0, "the copy did not begin")
  client.destroy()
  await until(async () => (await dropped(gateway, "mirror-cut-off")) === 1, "nothing was counted")
  t.is(await send(gateway, "POST", randomBytes(300_000)), "ok")
  await until(() => mirror.seen.length === 1, "the next one is copied")
  t.deepEqual(mirror.seen, own.seen)
})
