/** What is counted of upstreams: tries without an answer by their reason, latency without the client's part of it. */

import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { connect, createServer as createTcp } from "node:net"
import test, { type ExecutionContext } from "ava"
import { collect, type Running, runGateway, upstream } from "./run-gateway.ts"

async function metrics({ admin }: Running): Promise<(pattern: RegExp) => number> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  return (pattern) => Number(new RegExp(`^${pattern.source} (.+)$`, "m").exec(text)?.[1] ?? 0)
}

/** A server whose connections are treated by hand. */
async function raw(t: ExecutionContext, treat: (socket: import("node:net").Socket) => void): Promise<string> {
  const server = createTcp(treat).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

test("tries without an answer are counted by their response flag", async (t) => {
  const nobody = createTcp().listen(0, "127.0.0.1")
  await once(nobody, "listening")
  const refused = `127.0.0.1:${(nobody.address() as AddressInfo).port}`
  nobody.close()
  const closes = await raw(t, (socket) => socket.once("data", () => socket.destroy()))
  const silent = await raw(t, (socket) => socket.on("error", () => undefined).resume())
  const babbles = await raw(t, (socket) => socket.once("data", () => socket.end("HELLO\r\n\r\n")))
  const half = await raw(t, (socket) =>
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
  )
  const endpoints = { refused, closes, silent, babbles, half }
  const gateway = await runGateway({
    workers: 1,
    upstreams: Object.fromEntries(
      Object.entries(endpoints).map(([name, address]) => [name, { endpoints: [address], outlier: false }]),
    ),
    routes: Object.keys(endpoints).map((name) => ({
      when: { path: `/${name}` },
      to: name,
      use: [{ timeout: { ms: 200 } }],
    })),
  })
  t.teardown(() => gateway.stop())
  const status = async (name: string): Promise<number | string> => {
    return fetch(`http://127.0.0.1:${gateway.port}/${name}`).then(
      async (answer) =>
        answer.text().then(
          () => answer.status,
          () => "broken off",
        ),
      () => "broken off",
    )
  }
  t.is(await status("refused"), 503)
  t.is(await status("closes"), 502)
  t.is(await status("silent"), 504)
  t.is(await status("babbles"), 502)
  t.is(await status("half"), "broken off")
  const value = await metrics(gateway)
  const counted = (name: string, reason: string): number =>
    value(new RegExp(`tidegate_upstream_failures_total\\{reason="${reason}",upstream="${name}"\\}`))
  t.is(counted("refused", "UF"), 1)
  t.is(counted("closes", "UC"), 1)
  t.is(counted("silent", "UT"), 1)
  t.is(counted("babbles", "UPE"), 1)
  t.is(counted("half", "UC"), 1)
  const broken = (name: string): number =>
    value(new RegExp(`tidegate_upstream_broken_answers_total\\{code="200",upstream="${name}"\\}`))
  t.is(broken("half"), 1)
  t.is(broken("closes"), 0)
})

test("a client that owes its body is told so, and the breaker does not hear of it", async (t) => {
  const behind = await upstream((request, response) => {
    request.resume().on("end", () => response.end("ok"))
  })
  t.teardown(() => behind.server.close())
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [behind.address], outlier: { consecutive5xx: 2 } } },
    routes: [{ when: { path: "/**" }, to: "to", use: [{ timeout: { ms: 300 } }, { breaker: { failures: 2 } }] }],
  })
  t.teardown(() => gateway.stop())
  for (let count = 0; count < 4; count++) {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.write("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc")
    t.regex(await collect(socket), /^HTTP\/1.1 408 [\s\S]*details="CT"/)
  }
  t.is((await fetch(`http://127.0.0.1:${gateway.port}/x`)).status, 200)
  const value = await metrics(gateway)
  t.is(value(/tidegate_upstream_failures_total\{[^}]*\}/), 0)
  t.is(value(/tidegate_breaker_state\{upstream="to"\}/), 0)
})

test("each failure counts once for the breaker, an answer that is no HTTP too", async (t) => {
  const silent = await raw(t, (socket) => socket.on("error", () => undefined).resume())
  const babbles = await raw(t, (socket) => socket.once("data", () => socket.end("HELLO\r\n\r\n")))
  const use = [{ timeout: { ms: 300 } }, { breaker: { failures: 2, openMs: 60_000 } }]
  const gateway = await runGateway({
    workers: 1,
    upstreams: { silent: { endpoints: [silent], outlier: false }, babbles: { endpoints: [babbles], outlier: false } },
    routes: ["silent", "babbles"].map((name) => ({ when: { path: `/${name}` }, to: name, use })),
  })
  t.teardown(() => gateway.stop())
  const status = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${gateway.port}${path}`)).status
  t.deepEqual([await status("/silent"), await status("/silent"), await status("/silent")], [504, 504, 503])
  t.deepEqual([await status("/babbles"), await status("/babbles"), await status("/babbles")], [502, 502, 503])
})

const MORE_THAN_SOCKETS_HOLD = 64 * 1024 * 1024

test("a client that sends and reads slowly does not make its upstream slow", async (t) => {
  const behind = await upstream((request, response) => {
    request.resume().on("end", () => response.end(Buffer.alloc(MORE_THAN_SOCKETS_HOLD)))
  })
  t.teardown(() => behind.server.close())
  const gateway = await runGateway({
    workers: 1,
    upstreams: { api: { endpoints: [behind.address] } },
    routes: [{ when: { path: "/**" }, to: "api" }],
  })
  t.teardown(() => gateway.stop())
  const client = connect(gateway.port, "127.0.0.1")
  client.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n1")
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1_500))
  await pause()
  client.write("2")
  client.pause()
  await pause()
  client.resume()
  t.regex(await collect(client), /^HTTP\/1\.1 200 OK/)
  const value = await metrics(gateway)
  t.is(value(/tidegate_upstream_request_duration_seconds_count\{upstream="api"\}/), 1)
  const upstreamTook = value(/tidegate_upstream_request_duration_seconds_sum\{upstream="api"\}/)
  const requestTook = value(/tidegate_request_duration_seconds_sum\{protocol="http1",route="[^"]*"\}/)
  t.true(requestTook >= 2.9, `the request took ${requestTook} s`)
  t.true(requestTook - upstreamTook >= 2.5, `the upstream took ${upstreamTook} of ${requestTook} s`)
})
