/** What a route that compresses says of an answer to those who do not get it compressed: HEAD, 304, HTTP/1.0. */
import { once } from "node:events"
import type { OutgoingHttpHeaders } from "node:http"
import { connect } from "node:http2"
import ava from "ava"
import { request } from "undici"
import { exchange, type Running, runGateway, upstream } from "./run-gateway.ts"

let gateway: Running
const body = "0123456789".repeat(500)

ava.before(async () => {
  const { server, address } = await upstream((incoming, answer) => {
    const { url = "" } = incoming
    if (url === "/known") return void answer.writeHead(304, { etag: '"v1"' }).end()
    const length = url === "/short" ? 5 : body.length
    const digests = { "content-digest": "sha-256=:x:", "repr-digest": "sha-256=:x:", digest: "x", "content-md5": "x" }
    const fields: OutgoingHttpHeaders = {
      "content-type": url === "/image" ? "image/png" : "text/plain",
      etag: '"v1"',
      "accept-ranges": "bytes",
    }
    if (url !== "/unknown") fields["content-length"] = length
    if (url === "/fixed") answer.setHeader("cache-control", ["public", "No-Transform"])
    answer.writeHead(200, url === "/digest" ? { ...fields, ...digests } : fields)
    answer.end(incoming.method === "HEAD" ? undefined : body.slice(0, length))
  })
  gateway = await runGateway({
    workers: 1,
    upstreams: { api: { endpoints: [address] } },
    routes: [{ when: { path: "/**" }, to: "api", use: [{ compress: {} }] }],
  })
  server.unref()
})
ava.after.always(async () => {
  await gateway?.stop()
})

/** What is said of the form of an answer, as HEAD and as GET hear it. */
async function told(path: string, accept: string, method: "GET" | "HEAD") {
  const headers = { "accept-encoding": accept }
  const answer = await request(`http://127.0.0.1:${gateway.port}${path}`, { method, headers })
  await answer.body.dump()
  const { vary, etag, "content-encoding": coding, "content-length": length, "accept-ranges": ranges } = answer.headers
  return { status: answer.statusCode, vary, etag, coding, length, ranges }
}

for (const path of ["/long", "/short", "/image", "/unknown"]) {
  for (const accept of ["gzip", "br", "identity"]) {
    ava(`HEAD ${path} hears what GET hears where it accepts ${accept}`, async (t) => {
      const [head, get] = [await told(path, accept, "HEAD"), await told(path, accept, "GET")]
      t.deepEqual(head, get)
      const packs = accept !== "identity" && path !== "/short" && path !== "/image"
      t.is(head.coding, packs ? accept : undefined)
      t.is(head.vary, path === "/short" || path === "/image" ? undefined : "accept-encoding")
    })
  }
}

ava("HEAD over HTTP/2 hears it, too, and no body is announced by a length that is not its", async (t) => {
  const client = connect(`http://127.0.0.1:${gateway.port}`)
  t.teardown(() => client.close())
  const stream = client.request({ ":method": "HEAD", ":path": "/long", "accept-encoding": "gzip" }).resume()
  const [fields] = await once(stream, "response")
  await once(stream, "close")
  const { vary, etag, "content-encoding": coding, "content-length": length } = fields
  t.deepEqual([vary, etag, coding, length], ["accept-encoding", 'W/"v1"', "gzip", undefined])
  t.is(stream.rstCode, 0)
})

ava("HTTP/1.0 gets the plain form and is told that there is another", async (t) => {
  for (const method of ["GET", "HEAD"]) {
    const answer = await exchange(gateway.port, `${method} /long HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n`)
    t.regex(answer, /\r\nvary: accept-encoding\r\n/, method)
    t.regex(answer, /\r\ncontent-length: 5000\r\n/i, method)
    t.notRegex(answer, /content-encoding|transfer-encoding/i, method)
    t.is(answer.split("\r\n\r\n")[1], method === "GET" ? body : "", method)
  }
})

ava("304 varies as the answer does that it stands for", async (t) => {
  const { status, vary } = await told("/known", "gzip", "GET")
  t.deepEqual([status, vary], [304, "accept-encoding"])
})

ava("a connection goes on behind a HEAD that GET would be compressed for", async (t) => {
  const twice = `HEAD /long HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n`.repeat(2)
  const answer = await exchange(gateway.port, twice, /(HTTP[\s\S]*?\r\n\r\n){2}/)
  t.is(answer.match(/HTTP\/1\.1 200 OK\r\n/g)?.length, 2)
  t.regex(answer, /^(HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\n){2}$/)
})

ava("who asks for no transformation, or forbids it, gets none, in whichever line that stands", async (t) => {
  t.is((await told("/fixed", "gzip", "GET")).coding, undefined)
  const asked = `GET /long HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nCache-Control: max-age=0\r\nCache-Control: no-transform\r\nConnection: close\r\n\r\n`
  const answer = await exchange(gateway.port, asked)
  t.notRegex(answer, /content-encoding/i)
  t.regex(answer, /\r\nvary: accept-encoding\r\n/)
})

ava("all lines of Accept-Encoding count, and x-gzip is gzip", async (t) => {
  const coding = async (lines: string): Promise<string | undefined> => {
    const answer = await exchange(gateway.port, `GET /long HTTP/1.1\r\nHost: a\r\n${lines}Connection: close\r\n\r\n`)
    return /content-encoding: (\w+)/.exec(answer)?.[1]
  }
  t.is(await coding("Accept-Encoding: deflate\r\nAccept-Encoding: gzip\r\n"), "gzip")
  t.is(await coding("Accept-Encoding: gzip\r\nAccept-Encoding: br;q=0, gzip;q=0\r\n"), "gzip")
  t.is(await coding("Accept-Encoding: x-gzip\r\n"), "gzip")
})

ava("digests of the plain bytes do not go with others", async (t) => {
  const digests = async (accept: string): Promise<number> => {
    const answer = await request(`http://127.0.0.1:${gateway.port}/digest`, { headers: { "accept-encoding": accept } })
    await answer.body.dump()
    return Object.keys(answer.headers).filter((name) => /digest|md5/.test(name)).length
  }
  t.deepEqual([await digests("identity"), await digests("gzip")], [4, 0])
})
