/** Answers of an upstream of HTTP/2 that break a rule, break off or come in an unusual way: RFC 9113 sections 5, 6 and 8. */
import { once } from "node:events"
import { connect } from "node:http2"
import { connect as connectTcp } from "node:net"
import test, { type ExecutionContext } from "ava"
import { collect, exchange, type Running, runGateway } from "../e2e/run-gateway.ts"
import { block, END_HEADERS, END_STREAM, type Fields, frame, HEADERS, headers } from "./http2-frames.ts"
import {
  type Asked,
  data,
  goaway,
  type RawUpstream,
  rawUpstream,
  reset,
  settingsOf,
  windowUpdate,
} from "./http2-upstream.ts"

/** One gateway at a time: each test has its own. */
const ava = test.serial

/** A gateway of one worker before such an upstream, with a route for each kind of answer by its path. */
async function before(t: ExecutionContext, upstream: RawUpstream, more: object = {}): Promise<Running> {
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [upstream.address], protocol: "h2c", outlier: false, ...more } },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(() => gateway.stop())
  return gateway
}

/** Status and body by HTTP/1.1, or that the connection broke off. */
async function ask(gateway: Running, method = "GET"): Promise<string> {
  const request = `${method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`
  return exchange(gateway.port, request)
}

const ok: Fields = [[":status", "200"]]
/** A literal that is kept in the table (RFC 7541 section 6.2.1). */
const kept = (name: string, value: string): Buffer => {
  const literal = block([[name, value]])
  return Buffer.concat([Buffer.from([0x40]), literal.subarray(1)])
}

const malformed: Readonly<Record<string, Fields>> = {
  "no status": [["server", "x"]],
  "a status of two digits": [[":status", "20"]],
  "a status of letters": [[":status", "abc"]],
  "two statuses": [...ok, ...ok],
  "a status behind a field": [["server", "x"], ...ok],
  "a path": [...ok, [":path", "/"]],
  "a method": [...ok, [":method", "GET"]],
  "an authority": [...ok, [":authority", "a"]],
  "an unknown pseudo-header field": [...ok, [":what", "x"]],
  "a name in capitals": [...ok, ["X-Up", "a"]],
  "a name with a space": [...ok, ["x up", "a"]],
  "a name with a colon": [...ok, ["x:up", "a"]],
  "CR in a value": [...ok, ["x-up", "a\rb"]],
  "LF in a value": [...ok, ["x-up", "a\nset-cookie: b=c"]],
  "NUL in a value": [...ok, ["x-up", "a\0b"]],
  "a value that begins with a space": [...ok, ["x-up", " a"]],
  connection: [...ok, ["connection", "close"]],
  "transfer-encoding": [...ok, ["transfer-encoding", "chunked"]],
  "keep-alive": [...ok, ["keep-alive", "timeout=5"]],
  upgrade: [...ok, ["upgrade", "h2c"]],
  "a length of letters": [...ok, ["content-length", "abc"]],
  "two lengths": [...ok, ["content-length", "4"], ["content-length", "5"]],
  "switching protocols": [[":status", "101"]],
}

ava("a malformed head is 502, ends its stream and no other, however its frames are cut", async (t) => {
  const slow: Asked[] = []
  const names = Object.keys(malformed)
  let turn = 0
  const upstream = await rawUpstream(t, (asked) => {
    // The first one waits until all others are over.
    if (slow.length === 0) return void slow.push(asked)
    const fields = block(malformed[names[turn % names.length] ?? ""] ?? [])
    const cut = turn++ < names.length ? fields.length : 3
    const head = frame(HEADERS, cut < fields.length ? 0 : END_HEADERS, asked.stream, fields.subarray(0, cut))
    const rest = cut < fields.length ? frame(9, END_HEADERS, asked.stream, fields.subarray(cut)) : Buffer.alloc(0)
    asked.socket.write(Buffer.concat([head, rest, data(asked.stream, "body", true)]))
  })
  const gateway = await before(t, upstream)
  const waiting = ask(gateway)
  while (slow.length === 0) await new Promise(setImmediate)
  for (const name of [...names, ...names]) {
    const answer = await ask(gateway)
    t.regex(answer, /^HTTP\/1\.1 502 /, name)
    t.regex(answer, /error=http_protocol_error/, name)
    t.false(/set-cookie|body/.test(answer), name)
  }
  for (const { socket, stream } of slow) {
    socket.write(Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, "well", true)]))
  }
  t.regex(await waiting, /^HTTP\/1\.1 200 [\s\S]*well/)
  t.is(upstream.connections(), 1)
  t.deepEqual(upstream.goaways, [])
})

ava("what a malformed head leaves in the table changes no other answer", async (t) => {
  let turn = 0
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const status = block(ok)
    // Kept and bad; then by its place, newest first: fine, bad, fine; its name with another value.
    const blocks = [
      Buffer.concat([
        status,
        kept("x-first", "one"),
        kept("x-bad", "a\0b"),
        kept("X-Capital", "c"),
        kept("x-last", "two"),
      ]),
      Buffer.concat([status, Buffer.from([0xbe]), Buffer.from([0xc1])]),
      Buffer.concat([status, Buffer.from([0xbf])]),
      Buffer.concat([status, Buffer.from([0xc0])]),
      Buffer.concat([status, Buffer.from([0x0f, 0xc0 - 0x80 - 15, 4]), Buffer.from("fine")]),
    ]
    socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, blocks[turn++]))
  })
  const gateway = await before(t, upstream)
  t.regex(await ask(gateway), /^HTTP\/1\.1 502 /)
  t.regex(await ask(gateway), /^HTTP\/1\.1 200 [\s\S]*x-last: two\r\nx-first: one\r\n/)
  t.regex(await ask(gateway), /^HTTP\/1\.1 502 /, "a name in capitals")
  t.regex(await ask(gateway), /^HTTP\/1\.1 502 /, "NUL in a value")
  t.regex(await ask(gateway), /^HTTP\/1\.1 200 [\s\S]*x-bad: fine\r\n/)
  t.is(upstream.connections(), 1)
})

ava("a body that is not as long as announced, or trailers that are none, are not passed on as whole", async (t) => {
  const length = (bytes: string): Fields => [...ok, ["content-length", bytes]]
  const long = "x".repeat(10_000)
  const answers: Readonly<Record<string, (stream: number) => Buffer[]>> = {
    "too short": (stream) => [headers(stream, length("5"), END_HEADERS), data(stream, "four", true)],
    "too long": (stream) => [headers(stream, length("3"), END_HEADERS), data(stream, "four", true)],
    "none of five": (stream) => [headers(stream, length("5"))],
    "trailers with a status": (stream) => [headers(stream, ok, END_HEADERS), data(stream, long), headers(stream, ok)],
    "trailers in capitals": (stream) => [
      headers(stream, ok, END_HEADERS),
      data(stream, long),
      headers(stream, [["X-A", "b"]]),
    ],
    "trailers that do not end": (stream) => [
      headers(stream, ok, END_HEADERS),
      data(stream, long),
      headers(stream, [["x-a", "b"]], END_HEADERS),
    ],
    "reset in the middle": (stream) => [headers(stream, ok, END_HEADERS), data(stream, long), reset(stream, 2)],
    "reset without an error in the middle": (stream) => [
      headers(stream, ok, END_HEADERS),
      data(stream, long),
      reset(stream, 0),
    ],
    "reset in the middle of a length": (stream) => [
      headers(stream, length("20000"), END_HEADERS),
      data(stream, long),
      reset(stream, 8),
    ],
  }
  const names = Object.keys(answers)
  let turn = 0
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const made = answers[names[Math.floor(turn++ / 2)] ?? ""]?.(stream) ?? []
    socket.write(Buffer.concat(made))
  })
  const gateway = await before(t, upstream)
  const client = connect(`http://127.0.0.1:${gateway.port}`)
  t.teardown(() => client.destroy())
  for (const name of names) {
    const answer = await exchange(gateway.port, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 502 [\s\S]*\n$/)
    const isWhole =
      /^HTTP\/1\.1 200 /.test(answer) && (answer.endsWith("\r\n0\r\n\r\n") || answer.includes("<timeout>"))
    t.false(isWhole, `${name}: ${answer.slice(0, 200)} ... ${answer.slice(-60)}`)
    const stream = client.request({ ":path": "/x" }).resume()
    stream.on("error", () => undefined)
    const fields = once(stream, "response").then(
      ([found]) => found[":status"],
      () => "reset",
    )
    await new Promise((resolve) => stream.once("close", resolve))
    t.true((await fields) === 502 || stream.rstCode !== 0, `${name}: over HTTP/2`)
  }
  t.is(upstream.connections(), 1)
})

ava("interim answers go on, and one that ends its stream is malformed", async (t) => {
  let turn = 0
  const early: Fields = [
    [":status", "103"],
    ["link", "</a.css>"],
  ]
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const last =
      turn++ === 0
        ? [headers(stream, early, END_HEADERS), headers(stream, ok, END_HEADERS), data(stream, "well", true)]
        : []
    socket.write(Buffer.concat([headers(stream, early, turn === 1 ? END_HEADERS : END_HEADERS | END_STREAM), ...last]))
  })
  const gateway = await before(t, upstream)
  t.regex(await ask(gateway), /^(HTTP\/1\.1 103 Early Hints\r\nlink: <\/a.css>\r\n\r\n){2}HTTP\/1\.1 200 [\s\S]*well/)
  t.regex(await ask(gateway), /(^|\r\n\r\n)HTTP\/1\.1 502 /)
  t.is(upstream.connections(), 1)
})

ava("trailers go on to who reads them; a head alone that ends is a whole answer", async (t) => {
  let turn = 0
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const trailers = headers(stream, [["x-sum", "1"]])
    const bodied = [headers(stream, ok, END_HEADERS), data(stream, "well"), trailers]
    socket.write(Buffer.concat(turn++ < 2 ? bodied : [headers(stream, [...ok, ["grpc-status", "0"]])]))
  })
  const gateway = await before(t, upstream)
  t.regex(await ask(gateway), /\r\n4\r\nwell\r\n0\r\nx-sum: 1\r\n\r\n$/)
  const client = connect(`http://127.0.0.1:${gateway.port}`)
  t.teardown(() => client.destroy())
  const stream = client.request({ ":path": "/x" }).resume()
  const [trailers] = await once(stream, "trailers")
  t.is(trailers["x-sum"], "1")
  t.regex(await ask(gateway), /^HTTP\/1\.1 200 OK\r\ngrpc-status: 0\r\ncontent-length: 0\r\n/)
})

ava("empty DATA without end costs no connection", async (t) => {
  const upstream = await rawUpstream(t, ({ stream, socket }) => {
    const empty = Buffer.concat(Array.from({ length: 300 }, () => data(stream, "")))
    socket.write(
      Buffer.concat([headers(stream, ok, END_HEADERS), empty, data(stream, "well"), empty, data(stream, "", true)]),
    )
  })
  const gateway = await before(t, upstream)
  for (let turn = 0; turn < 3; turn += 1) t.regex(await ask(gateway), /^HTTP\/1\.1 200 [\s\S]*\r\nwell\r\n0\r\n\r\n$/)
  t.is(upstream.connections(), 1)
})

ava(
  "a stream that GOAWAY says was not processed goes to another connection, and those before it to their end",
  async (t) => {
    const asked: Asked[] = []
    const upstream = await rawUpstream(t, (request) => {
      const { stream, socket, connection } = request
      const answer = Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, `on ${connection}`, true)])
      if (connection > 0) return void socket.write(answer)
      asked.push(request)
      if (asked.length < 3) return
      // The last two were not processed; the first is answered behind that.
      const [first] = asked
      if (first === undefined) return
      socket.write(goaway(first.stream))
      socket.write(Buffer.concat([headers(first.stream, ok, END_HEADERS), data(first.stream, "on 0", true)]))
    })
    const gateway = await before(t, upstream)
    const first = ask(gateway)
    while (asked.length < 1) await new Promise(setImmediate)
    const post = exchange(
      gateway.port,
      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
    )
    const answers = await Promise.all([first, ask(gateway), post])
    t.regex(answers[0] ?? "", /on 0/)
    // RFC 9113 section 8.7: what was not processed may be sent again whatever its method is.
    t.regex(answers[1] ?? "", /on 1/)
    t.regex(answers[2] ?? "", /on 1/)
  },
)

ava("a request that one connection after the other leaves out is sent again some times, not without end", async (t) => {
  let patience = 3
  const upstream = await rawUpstream(t, ({ stream, socket, connection }) => {
    if (connection < patience) return void socket.end(goaway(0))
    socket.write(Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, `on ${connection}`, true)]))
  })
  // What is left out is no failure that opens a breaker.
  const gateway = await before(t, upstream, { breaker: { failures: 2, openMs: 60_000 } })
  const post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
  t.regex(await exchange(gateway.port, post), /^HTTP\/1\.1 200 [\s\S]*on 3/)
  patience = 1_000
  t.regex(await ask(gateway), /^HTTP\/1\.1 502 /)
  t.true(upstream.connections() <= 4 + 6)
})

ava("an upstream that reads nothing until its answers are taken is not waited for", async (t) => {
  const [streams, answer] = [64, 15 * 16_000]
  const asked: Asked[] = []
  const end = (): void => {
    const isWhole = ({ connection, stream }: Asked): boolean =>
      upstream.bodies.get(`${connection}:${stream}`) === 500_000
    for (const { stream, socket } of asked.filter(isWhole)) socket.write(data(stream, "", true))
    asked.splice(0, asked.length, ...asked.filter((one) => !isWhole(one)))
    if (asked.length > 0) setTimeout(end, 20)
  }
  const upstream = await rawUpstream(
    t,
    (one) => {
      if (asked.push(one) < streams) return
      // More than sockets hold: who does not read them never gets further with the bodies either.
      const { socket } = one
      socket.pause()
      const part = Buffer.alloc(16_000)
      for (const { stream } of asked) {
        socket.write(headers(stream, ok, END_HEADERS))
        for (let sent = 0; sent < answer; sent += part.length) socket.write(data(stream, part))
      }
      socket.write(frame(6, 0, 0, Buffer.alloc(8)), () => {
        socket.resume()
        end()
      })
    },
    // Windows as large as they can be.
    () => Buffer.concat([settingsOf({ 4: 2 ** 31 - 1 }), windowUpdate(0, 2 ** 31 - 1 - 65_535)]),
  )
  const gateway = await before(t, upstream)
  const body = "x".repeat(500_000)
  const post = `POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
  const answers = await Promise.all(Array.from({ length: streams }, () => exchange(gateway.port, post)))
  for (const text of answers)
    t.true(text.startsWith("HTTP/1.1 200 ") && text.length > answer && text.endsWith("\r\n0\r\n\r\n"))
})

ava("an upstream that takes one stream at a time gets one at a time", async (t) => {
  const waiting: Asked[] = []
  let most = 0
  const upstream = await rawUpstream(
    t,
    (asked) => {
      waiting.push(asked)
      const beside = waiting.filter(({ connection }) => connection === asked.connection).length
      most = Math.max(most, beside)
      setTimeout(() => {
        waiting.splice(waiting.indexOf(asked), 1)
        asked.socket.write(Buffer.concat([headers(asked.stream, ok, END_HEADERS), data(asked.stream, "well", true)]))
      }, 20)
    },
    () => settingsOf({ 3: 1 }),
  )
  const gateway = await before(t, upstream)
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(gateway)))
  answers.forEach((answer) => {
    t.regex(answer, /^HTTP\/1\.1 200 [\s\S]*well/)
  })
  t.is(most, 1)
})

ava("streams that are allowed no more while they wait are refused and asked for again", async (t) => {
  let lowered = false
  const upstream = await rawUpstream(t, ({ stream, socket, connection }) => {
    if (connection === 0 && !lowered) {
      lowered = true
      // Fewer are allowed from now on; who is beyond that is told so.
      socket.write(Buffer.concat([settingsOf({ 3: 0 }), reset(stream, 7)]))
      return
    }
    socket.write(Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, `on ${connection}`, true)]))
  })
  const gateway = await before(t, upstream)
  t.regex(await ask(gateway), /^HTTP\/1\.1 200 [\s\S]*on 1/)
})

ava("a body waits for the window of an upstream that begins with none", async (t) => {
  const upstream = await rawUpstream(
    t,
    ({ stream, socket, connection }) => {
      setTimeout(() => {
        t.is(upstream.bodies.get(`${connection}:${stream}`) ?? 0, 0)
        socket.write(windowUpdate(stream, 1))
        socket.write(windowUpdate(stream, 4_999))
        setTimeout(() => {
          t.is(upstream.bodies.get(`${connection}:${stream}`), 5_000)
          socket.write(Buffer.concat([headers(stream, ok, END_HEADERS), data(stream, "well", true)]))
        }, 100)
      }, 100)
    },
    () => settingsOf({ 4: 0 }),
  )
  const gateway = await before(t, upstream)
  const socket = connectTcp(gateway.port, "127.0.0.1")
  t.teardown(() => socket.destroy())
  socket.write(`POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n${"x".repeat(5_000)}`)
  t.regex(await collect(socket), /^HTTP\/1\.1 200 [\s\S]*well/)
})
