/** Upstreams of HTTP/2 that do not answer, or not as they may: how often they are asked, and what the client is told. */
import { once } from "node:events"
import { connect, constants, createServer, type ServerHttp2Stream } from "node:http2"
import type { AddressInfo } from "node:net"
import test, { type ExecutionContext } from "ava"
import { runGateway } from "./run-gateway.ts"

/** A gateway before a server that treats each stream so; how many it saw. */
async function behind(t: ExecutionContext, treat: (stream: ServerHttp2Stream, path: string) => void) {
  const seen = new Map<string, number>()
  const server = createServer()
  server.on("stream", (stream, headers) => {
    const path = String(headers[":path"])
    seen.set(path, (seen.get(path) ?? 0) + 1)
    stream.on("error", () => undefined)
    treat(stream, path)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [`127.0.0.1:${port}`], protocol: "h2c", outlier: false } },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(async () => {
    await gateway.stop()
    server.close()
  })
  return { origin: `http://127.0.0.1:${gateway.port}`, seen, admin: gateway.admin }
}

test("a stream that is refused, or reset before an answer, is tried once more and not again", async (t) => {
  const codes: Record<string, number> = {
    "/refused": constants.NGHTTP2_REFUSED_STREAM,
    "/nothing": constants.NGHTTP2_NO_ERROR,
    "/broken": constants.NGHTTP2_INTERNAL_ERROR,
  }
  const { origin, seen } = await behind(t, (stream, path) => {
    const code = codes[path]
    if (code === undefined) stream.respond({ ":status": 204 }, { endStream: true })
    else stream.close(code)
  })
  t.is((await fetch(`${origin}/well`)).status, 204)
  for (const path of Object.keys(codes)) {
    const answer = await fetch(origin + path, { signal: AbortSignal.timeout(8_000) })
    t.is(answer.status, 502, path)
    t.is(seen.get(path), 2, path)
  }
  const session = connect(origin)
  t.teardown(() => session.destroy())
  const stream = session.request({ ":path": "/refused", ":method": "GET" })
  const [headers] = await once(stream, "response")
  t.deepEqual([headers[":status"], seen.get("/refused")], [502, 4])
})

test("an answer that breaks a rule of HTTP/2 is said to, and is not asked for again", async (t) => {
  const { origin, seen, admin } = await behind(t, (stream) => {
    stream.respond({ ":status": 200, "content-length": "5" }, { endStream: true })
  })
  const answer = await fetch(`${origin}/x`, { signal: AbortSignal.timeout(8_000) })
  t.is(answer.status, 502)
  t.regex(answer.headers.get("proxy-status") ?? "", /error=http_protocol_error/)
  t.is(seen.get("/x"), 1)
  const metrics = await (await fetch(`${admin}/metrics`)).text()
  t.regex(metrics, /^tidegate_upstream_failures_total\{reason="UPE",upstream="to"\} 1$/m)
})
