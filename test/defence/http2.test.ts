/** Lines 19 to 22: what RFC 9113 sections 8.1 to 8.3 call malformed, by frames that no client would send. */
import ava from "ava"
import { type Running, runGateway } from "../e2e/run-gateway.ts"
import { block, converse, DATA, END_HEADERS, END_STREAM, type Fields, frame, HEADERS, headers } from "./http2-frames.ts"
import { type Origin, startOrigin } from "./origin.ts"

const test = ava.serial
let gateway: Running
let origin: Origin

ava.before(async () => {
  origin = await startOrigin()
  gateway = await runGateway({
    workers: 1,
    upstreams: { origin: { endpoints: [`127.0.0.1:${origin.port}`] } },
    routes: [{ when: { path: "/**" }, to: "origin" }],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.stop()
})

const method = [":method", "GET"] as const
const scheme = [":scheme", "http"] as const
const path = [":path", "/x"] as const
const authority = [":authority", "a"] as const
const GET: Fields = [method, scheme, path, authority]
const POST: Fields = [[":method", "POST"], scheme, path, authority]
const without = (name: string, ...more: Fields): Fields => [...GET.filter(([own]) => own !== name), ...more]
const PROTOCOL = "RST_STREAM 1"

/** What comes for stream 1 of these bytes; `undefined`: nothing for it, the connection's end. */
async function answerTo(bytes: Buffer): Promise<string | undefined> {
  const answers = await converse(gateway.port, bytes, (seen) => seen.has(1) || seen.has(0))
  return answers.get(1)?.[0] ?? answers.get(0)?.[0]
}

const HEADS: readonly [what: string, fields: Fields, answer: string][] = [
  ["nothing wrong", GET, "200"],
  ["Connection", [...GET, ["connection", "close"]], PROTOCOL],
  ["Transfer-Encoding", [...GET, ["transfer-encoding", "chunked"]], PROTOCOL],
  ["Keep-Alive", [...GET, ["keep-alive", "5"]], PROTOCOL],
  ["Proxy-Connection", [...GET, ["proxy-connection", "close"]], PROTOCOL],
  ["Upgrade", [...GET, ["upgrade", "h2c"]], PROTOCOL],
  ["TE other than trailers", [...GET, ["te", "gzip"]], PROTOCOL],
  ["TE: trailers", [...GET, ["te", "trailers"]], "200"],
  ["no :method", without(":method"), PROTOCOL],
  ["no :scheme", without(":scheme"), PROTOCOL],
  ["no :path", without(":path"), PROTOCOL],
  ["no :path and no :authority", [method, scheme, ["host", "a"]], PROTOCOL],
  ["an empty :path", without(":path", [":path", ""]), PROTOCOL],
  ["a :path without slash", without(":path", [":path", "x"]), PROTOCOL],
  ["a :path with a space", without(":path", [":path", "/x y"]), PROTOCOL],
  ["a :path with CR LF", without(":path", [":path", "/x\r\na: b"]), PROTOCOL],
  ["an absolute :path", without(":path", [":path", "http://a/x"]), PROTOCOL],
  ["two :method", [method, ...GET], PROTOCOL],
  ["two :path", [path, ...GET], PROTOCOL],
  ["two :scheme", [scheme, ...GET], PROTOCOL],
  ["two :authority", [authority, ...GET], PROTOCOL],
  ["a pseudo-header field behind a field", [method, scheme, path, ["a", "b"], authority], PROTOCOL],
  [":status", [...GET, [":status", "200"]], PROTOCOL],
  [":protocol without CONNECT", [...GET, [":protocol", "websocket"]], PROTOCOL],
  ["CONNECT with :path", [[":method", "CONNECT"], scheme, path, authority], PROTOCOL],
  ["extended CONNECT without :path", [[":method", "CONNECT"], [":protocol", "websocket"], scheme, authority], PROTOCOL],
  [
    "extended CONNECT to another protocol",
    [[":method", "CONNECT"], [":protocol", "x"], scheme, path, authority],
    PROTOCOL,
  ],
  ["a user in :authority", without(":authority", [":authority", "me@a"]), "400"],
  ["a user in Host", without(":authority", ["host", "me@a"]), "400"],
  ["another Host", [...GET, ["host", "b"]], PROTOCOL],
  ["two Host", [...GET, ["host", "a"], ["host", "a"]], PROTOCOL],
  ["a space in front of a value", [...GET, ["x-a", " b"]], PROTOCOL],
  ["a space behind a value", [...GET, ["x-a", "b "]], PROTOCOL],
  ["a tab behind a cookie", [...GET, ["cookie", "b\t"]], PROTOCOL],
  ["a tab in a value", [...GET, ["x-a", "b\tc"]], "200"],
  [":scheme ftp", without(":scheme", [":scheme", "ftp"]), "400"],
  [":scheme ftp and no :authority", [method, [":scheme", "ftp"], path, ["host", "a"]], "400"],
  ["an empty :scheme", without(":scheme", [":scheme", ""]), "400"],
  ["a :scheme with more behind it", without(":scheme", [":scheme", "http://evil"]), PROTOCOL],
  [":scheme https", without(":scheme", [":scheme", "https"]), "200"],
  ["two lengths", [...GET, ["content-length", "0"], ["content-length", "0"]], "400"],
  ["a length that is none", [...GET, ["content-length", "+0"]], PROTOCOL],
  ["a length and no data", [...POST, ["content-length", "3"]], PROTOCOL],
  ["a lower-case method", without(":method", [":method", "get"]), "400"],
  ["a method with a space", without(":method", [":method", "GE T"]), PROTOCOL],
  [":path that is no UTF-8", without(":path", [":path", "/\xff"]), PROTOCOL],
  ["an upper-case name", [...GET, ["X-A", "b"]], PROTOCOL],
  ["a name with a space", [...GET, ["x a", "b"]], PROTOCOL],
  ["a name with a colon", [...GET, ["x:a", "b"]], PROTOCOL],
  ["a name with CR LF", [...GET, ["x\r\na", "b"]], PROTOCOL],
  ["an empty name", [...GET, ["", "b"]], PROTOCOL],
  ["CR in a value", [...GET, ["x-a", "b\rc"]], PROTOCOL],
  ["LF in a value", [...GET, ["x-a", "b\nc"]], PROTOCOL],
  ["NUL in a value", [...GET, ["x-a", "b\0c"]], PROTOCOL],
  ["DEL in a value", [...GET, ["x-a", "b\x7fc"]], PROTOCOL],
  ["a pseudo-header field that nobody knows", [...GET, [":x", "b"]], PROTOCOL],
]

for (const [what, fields, answer] of HEADS) {
  test(`22: ${what}: ${answer}, and the connection serves the next stream`, async (t) => {
    const bytes = Buffer.concat([headers(1, fields), headers(3, GET)])
    const answers = await converse(gateway.port, bytes, (seen) => (seen.has(1) && seen.has(3)) || seen.has(0))
    t.deepEqual([answers.get(1)?.[0], answers.get(3)?.[0], answers.get(0)], [answer, "200", undefined])
  })
}

const POST_HEAD = headers(1, POST, END_HEADERS)
const data = (text: string, flags = 0): Buffer => frame(DATA, flags, 1, text)
const trailers = (...fields: Fields): Buffer => frame(HEADERS, END_STREAM | END_HEADERS, 1, block(fields))
const sized = (length: string): Buffer => headers(1, [...POST, ["content-length", length]], END_HEADERS)

const BODIES: readonly [what: string, bytes: Buffer, answer: string][] = [
  ["trailers", Buffer.concat([POST_HEAD, data("abc"), trailers(["x-a", "b"])]), "200"],
  [":path in trailers", Buffer.concat([POST_HEAD, data("abc"), trailers([":path", "/y"])]), PROTOCOL],
  [":status in trailers", Buffer.concat([POST_HEAD, data("abc"), trailers([":status", "200"])]), PROTOCOL],
  ["Connection in trailers", Buffer.concat([POST_HEAD, data("abc"), trailers(["connection", "x"])]), PROTOCOL],
  ["a space behind a trailer's value", Buffer.concat([POST_HEAD, data("abc"), trailers(["x-a", "b "])]), PROTOCOL],
  [
    "trailers that end nothing",
    Buffer.concat([POST_HEAD, data("abc"), headers(1, [["x-a", "b"]], END_HEADERS)]),
    PROTOCOL,
  ],
  ["less data than the length", Buffer.concat([sized("5"), data("abc", END_STREAM)]), PROTOCOL],
  ["more data than the length", Buffer.concat([sized("2"), data("abc", END_STREAM)]), PROTOCOL],
  ["trailers before the length is there", Buffer.concat([sized("5"), data("abc"), trailers(["x-a", "b"])]), PROTOCOL],
  ["as much data as the length", Buffer.concat([sized("3"), data("abc", END_STREAM)]), "200"],
]

for (const [what, bytes, answer] of BODIES) {
  test(`22: ${what}: ${answer}`, async (t) => {
    origin.taken()
    t.is(await answerTo(bytes), answer)
    // Whatever of it went on is no whole request: the last chunk is missing.
    if (answer === PROTOCOL) t.notRegex(origin.taken(), /\r\n0\r\n/)
  })
}

const windowUpdate = (stream: number, by: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(by)
  return frame(8, 0, stream, payload)
}

test("21: a window that is opened beyond 2^31-1 ends its stream, or the connection", async (t) => {
  const wide = 2 ** 31 - 1
  t.is(await answerTo(Buffer.concat([POST_HEAD, windowUpdate(1, wide)])), "RST_STREAM 3")
  t.is(await answerTo(Buffer.concat([POST_HEAD, windowUpdate(0, wide)])), "GOAWAY 3")
  t.is(await answerTo(Buffer.concat([POST_HEAD, windowUpdate(0, 0)])), "GOAWAY 1")
})

test("19: streams that the gateway is made to reset count as resets of the client's own", async (t) => {
  const each = (index: number): Buffer => {
    const stream = 2 * index + 1
    const cut = frame(HEADERS, END_STREAM | END_HEADERS, stream, block([[":path", "/y"]]))
    return Buffer.concat([headers(stream, POST, END_HEADERS), cut])
  }
  const flood = Buffer.concat(Array.from({ length: 300 }, (_, index) => each(index)))
  const answers = await converse(gateway.port, flood, (seen) => seen.has(0))
  t.deepEqual(answers.get(0), ["GOAWAY 11"])
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.regex(metrics, /tidegate_dropped_total\{protocol="http2",reason="rapid-reset"\} [1-9]/)
})

test("21: empty DATA by the hundred is no end of a connection that lives long", async (t) => {
  const empty = Buffer.concat(Array.from({ length: 300 }, () => frame(DATA, 0, 1)))
  const bytes = [POST_HEAD, empty, data("abc"), empty, data("", END_STREAM), headers(3, GET)]
  const answers = await converse(gateway.port, Buffer.concat(bytes), (seen) => seen.has(3) || seen.has(0))
  t.deepEqual([answers.get(1)?.[0], answers.get(3)?.[0]], ["200", "200"])
})

test("22: a malformed head in several frames ends its stream alone", async (t) => {
  const split = (stream: number, fields: Fields): Buffer => {
    const bytes = block(fields)
    const parts = [bytes.subarray(0, 50), bytes.subarray(50, 51), bytes.subarray(51)]
    const of = (part: Buffer, index: number) =>
      frame(index === 0 ? HEADERS : 9, index === 2 ? END_HEADERS : index === 0 ? END_STREAM : 0, stream, part)
    return Buffer.concat(parts.map(of))
  }
  const more: Fields = [["x-long", "y".repeat(100)]]
  const bytes = [
    split(1, [...GET, ["connection", "x"], ...more]),
    split(3, [...GET, ["X-A", "b"], ...more]),
    split(5, [...GET, ...more]),
  ]
  const answers = await converse(gateway.port, Buffer.concat(bytes), (seen) => seen.has(5) || seen.has(0))
  t.deepEqual([answers.get(1)?.[0], answers.get(3)?.[0], answers.get(5)?.[0]], [PROTOCOL, PROTOCOL, "200"])
})

test("21: DATA of padding alone is a flood when it comes by the thousand", async (t) => {
  const padded = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => frame(DATA, 8, 1, "\0")))
  const few = [POST_HEAD, padded(300), data("abc", END_STREAM)]
  t.is(await answerTo(Buffer.concat(few)), "200")
  t.is(await answerTo(Buffer.concat([POST_HEAD, padded(1_100)])), "GOAWAY 11")
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.regex(metrics, /tidegate_dropped_total\{protocol="http2",reason="control-flood"\} [1-9]/)
})
