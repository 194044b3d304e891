/** Requests that an upstream of HTTP/2 cannot be told, and answers of gRPC-Web that are none of gRPC. */
import test, { type ExecutionContext } from "ava"
import { exchange, type Running, runGateway } from "../e2e/run-gateway.ts"
import { END_HEADERS, type Fields, headers } from "./http2-frames.ts"
import { type Asked, data, type RawUpstream, rawUpstream } from "./http2-upstream.ts"

/** One gateway at a time: each test has its own. */
const ava = test.serial

async function before(t: ExecutionContext, upstream: RawUpstream): Promise<Running> {
  const breaker = { failures: 3, openMs: 60_000 }
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [upstream.address], protocol: "h2c", outlier: false, breaker } },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(() => gateway.stop())
  return gateway
}

const ok: Fields = [[":status", "200"]]
const well = ({ stream, socket }: Asked): void => {
  socket.write(Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, "well", true)]))
}
const post = (type: string, body: string): string =>
  `POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`

ava("what an upstream cannot be told is the client's fault, and opens no breaker", async (t) => {
  const upstream = await rawUpstream(t, well)
  const gateway = await before(t, upstream)
  const bad = [post("application/grpc-web-text", "!!!!"), post("application/grpc-web-text", "AAAAA")]
  for (const request of [...bad, ...bad, ...bad]) t.regex(await exchange(gateway.port, request), /^HTTP\/1\.1 400 /)
  t.regex(await exchange(gateway.port, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), /200 .*well/s)
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.notRegex(metrics, /^tidegate_upstream_failures_total\{.*\} [1-9]/m)
})

ava("an authority with an escape goes on, a request without one gets the upstream's own", async (t) => {
  const gateway = await before(t, await rawUpstream(t, well))
  const escaped = "GET /x HTTP/1.1\r\nHost: a%41\r\nConnection: close\r\n\r\n"
  t.regex(await exchange(gateway.port, escaped), /^HTTP\/1\.1 200 .*well/s)
  t.regex(await exchange(gateway.port, "GET /x HTTP/1.0\r\n\r\n"), /^HTTP\/1\.1 200 .*well/s)
  t.regex(
    await exchange(gateway.port, "GET /x HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"),
    /^HTTP\/1\.1 200 .*well/s,
  )
})

ava("an answer to gRPC-Web that is none of gRPC is passed on as it is", async (t) => {
  const page: Fields = [
    [":status", "404"],
    ["content-type", "text/html"],
    ["content-length", "6"],
  ]
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    socket.write(Buffer.concat([headers(stream, page, END_HEADERS), data(stream, "<h1>no", true)]))
  })
  const gateway = await before(t, upstream)
  for (const type of ["application/grpc-web+proto", "application/grpc-web-text"]) {
    const answer = await exchange(gateway.port, post(type, "AAAA"))
    t.regex(answer, /^HTTP\/1\.1 404 .*\r\ncontent-length: 6\r\n.*\r\n\r\n<h1>no$/is, type)
  }
})

ava("a call that ends without trailers gets none in gRPC-Web", async (t) => {
  const call: Fields = [...ok, ["content-type", "application/grpc"]]
  let trailers = false
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const end = trailers ? [data(stream, "abc"), headers(stream, [["grpc-status", "0"]])] : [data(stream, "abc", true)]
    socket.write(Buffer.concat([headers(stream, call, END_HEADERS), ...end]))
  })
  const gateway = await before(t, upstream)
  t.regex(await exchange(gateway.port, post("application/grpc-web", "x")), /\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/)
  trailers = true
  t.regex(
    await exchange(gateway.port, post("application/grpc-web", "x")),
    /abc\r\n15\r\n\x80\0\0\0\x10grpc-status: 0\r\n\r\n0\r\n\r\n$/,
  )
})
