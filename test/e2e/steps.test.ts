/** The compiled steps as a client and a service see them. */

import { spawnSync } from "node:child_process"
import type { IncomingMessage, Server } from "node:http"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import ava from "ava"
import { request } from "undici"
import { exchange, has, type Running, runGateway, upstream } from "./run-gateway.ts"

let gateway: Running
let server: Server
const json = JSON.stringify(Array.from({ length: 500 }, (_, index) => ({ index, name: `item ${index}` })))
/** argon2id of "open sesame". */
const hash = spawnSync(process.execPath, ["bin/tidegate.mjs", "passwd", "--json"], {
  input: "open sesame",
  encoding: "utf8",
})
const phc = /\$argon2id\$[^\s"]+/.exec(hash.stdout)?.[0] ?? ""

ava.before(async () => {
  const started = await upstream(async (incoming, answer) => {
    incoming.on("error", () => {})
    const { url = "" } = incoming
    if (url.startsWith("/stream")) {
      answer.writeHead(200, { "content-type": "text/event-stream" })
      answer.write("data: one\n\n")
      setTimeout(() => answer.end("data: two\n\n"), 300)
      return
    }
    const size = await bytesOf(incoming)
    const kind = url.includes("png") ? "image/png" : "application/json"
    const body =
      url.includes("json") || url.includes("png") ? json : `${JSON.stringify({ url, size, headers: incoming.headers })}`
    answer.writeHead(200, {
      "content-type": kind,
      "content-length": Buffer.byteLength(body),
      etag: '"v1"',
      ...(url.includes("coded") && { "content-encoding": "gzip" }),
      ...(url.includes("fixed") && { "cache-control": "no-transform" }),
      "access-control-allow-origin": "https://upstream.example",
    })
    answer.end(body)
  })
  server = started.server
  gateway = await runGateway({
    upstreams: { api: { endpoints: [started.address] }, copy: { endpoints: [started.address] } },
    routes: [
      {
        when: { path: "/cors/**" },
        to: "api",
        use: [
          { cors: { origins: ["https://app.example", "https://*.corp.example"], credentials: true, expose: ["x-a"] } },
        ],
      },
      { when: { path: "/cors-own" }, to: { respond: { body: "own" } }, use: [{ cors: {} }] },
      {
        when: { path: "/key/**" },
        to: "api",
        use: [{ apiKey: { query: "key", header: "x-api-key", keys: { alice: "s3cret" }, userHeader: "x-user" } }],
      },
      {
        when: { path: "/login/**" },
        to: "api",
        use: [{ basicAuth: { realm: "tide", users: { bob: phc }, userHeader: "x-user" } }],
      },
      { when: { path: "/compress/**" }, to: "api", use: [{ compress: {} }] },
      { when: { path: "/stream" }, to: "api", use: [{ compress: {} }] },
      { when: { path: "/limit/**" }, to: "api", use: [{ bodyLimit: { bytes: 10 } }] },
      {
        when: { path: "/headers/**" },
        to: "api",
        use: [
          { setResponseHeader: { etag: '"mine"' } },
          { addResponseHeader: { "x-more": "1" } },
          { removeResponseHeader: ["content-type"] },
          { addHeader: { "x-added": "2" } },
        ],
      },
      { when: { path: "/go/{id}" }, to: { redirect: { location: "https://{host}/items/{id}?{query}", status: 308 } } },
      { when: { path: "/away/**" }, to: { redirect: { location: "/new/{rest}" } } },
      {
        when: { path: "/say/{id}" },
        to: {
          respond: { body: '{"id":"{id}","x":{}}', headers: { "content-type": "application/json", "x-id": "{id}" } },
        },
      },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  server?.close()
})

async function bytesOf(incoming: IncomingMessage): Promise<number> {
  let size = 0
  try {
    for await (const chunk of incoming) size += (chunk as Buffer).length
  } catch {
    // The gateway cut a body that was too long.
  }
  return size
}

type Method = "GET" | "POST" | "OPTIONS"
const call = async (path: string, headers: Record<string, string> = {}, method: Method = "GET", body?: string) => {
  const answer = await request(`http://127.0.0.1:${gateway.port}${path}`, {
    headers,
    method,
    ...(body !== undefined && { body }),
  })
  return { status: answer.statusCode, fields: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) }
}
const calls = async (policy: string): Promise<number> => {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  return Number(
    new RegExp(`tidegate_policy_calls_total\\{outcome="compiled",policy="${policy}"\\} (\\d+)`).exec(text)?.[1] ?? 0,
  )
}

ava("cors: a preflight is answered here, a page of that origin may read the answer, others may not", async (t) => {
  const ask = { "access-control-request-method": "PUT", "access-control-request-headers": "x-b" }
  const preflight = await call("/cors/x", { origin: "https://app.example", ...ask }, "OPTIONS")
  t.is(preflight.status, 204)
  t.is(preflight.fields["access-control-allow-origin"], "https://app.example")
  t.is(preflight.fields["access-control-allow-credentials"], "true")
  t.is(preflight.fields["access-control-allow-headers"], "x-b")
  t.regex(String(preflight.fields["access-control-allow-methods"]), /PUT/)
  t.is(preflight.fields.vary, "origin")
  const got = await call("/cors/x", { origin: "https://a.corp.example" })
  t.is(got.fields["access-control-allow-origin"], "https://a.corp.example")
  t.is(got.fields["access-control-expose-headers"], "x-a")
  t.is((await call("/cors/x", { origin: "https://evil.example", ...ask }, "OPTIONS")).status, 403)
  t.is((await call("/cors-own", { origin: "https://any.example" })).fields["access-control-allow-origin"], "*")
  t.true((await calls("cors")) >= 4)
})

ava("apiKey: by header or query; the service learns the name, a spoofed one is dropped", async (t) => {
  const none = await call("/key/x")
  t.is(none.status, 401)
  t.regex(String(none.fields["www-authenticate"]), /^ApiKey /)
  t.is((await call("/key/x", { "x-api-key": "wrong" })).status, 401)
  const seen = JSON.parse((await call("/key/x", { "x-api-key": "s3cret", "x-user": "root" })).body.toString())
  t.is(seen.headers["x-user"], "alice")
  t.is((await call("/key/x?key=s3cret")).status, 200)
  t.notRegex(
    await (await fetch(`${gateway.admin}/v1/config`)).text(),
    /s3cret|1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0/,
  )
})

ava("basicAuth: asks, compares beside the worker, remembers", async (t) => {
  const login = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` })
  const none = await call("/login/x")
  t.deepEqual([none.status, none.fields["www-authenticate"]], [401, 'Basic realm="tide", charset="UTF-8"'])
  t.is((await call("/login/x", login("bob:wrong"))).status, 401)
  t.is((await call("/login/x", login("eve:open sesame"))).status, 401)
  for (const _ of [1, 2]) {
    const { status, body } = await call("/login/x", login("bob:open sesame"), "POST", "12345")
    t.is(status, 200)
    t.is(JSON.parse(body.toString()).headers["x-user"], "bob")
    t.is(JSON.parse(body.toString()).size, 5)
  }
})

ava("compress: what the client likes most, with another entity tag; what must not change does not", async (t) => {
  const coded = async (path: string, accept: string) => call(path, { "accept-encoding": accept })
  const br = await coded("/compress/json", "gzip, br")
  t.is(br.fields["content-encoding"], "br")
  t.is(brotliDecompressSync(br.body).toString(), json)
  t.is(br.fields.etag, 'W/"v1"')
  t.is(br.fields["content-length"], undefined)
  t.is(br.fields.vary, "accept-encoding")
  const gz = await coded("/compress/json", "gzip")
  t.is(gunzipSync(gz.body).toString(), json)
  if (has("zstd", "zstd")) {
    const zstd = await coded("/compress/json", "zstd")
    t.is(zstd.fields["content-encoding"], "zstd")
    t.is(spawnSync("zstd", ["-d", "-c"], { input: zstd.body }).stdout.toString(), json)
  }
  for (const path of ["/compress/png", "/compress/json-fixed", "/compress/x"]) {
    t.is((await coded(path, "gzip")).fields["content-encoding"], undefined, path)
  }
  t.is((await coded("/compress/json-coded", "br")).fields["content-encoding"], "gzip")
  const plain = await coded("/compress/json", "identity")
  t.deepEqual([plain.body.toString(), plain.fields.vary], [json, "accept-encoding"])
  t.regex(await exchange(gateway.port, "GET /compress/json HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"), /item 499/)
  t.true((await calls("compress")) >= 2)
})

ava("compress: an event of a stream is not held back", async (t) => {
  const { body, headers } = await request(`http://127.0.0.1:${gateway.port}/stream`, {
    headers: { "accept-encoding": "gzip" },
  })
  t.is(headers["content-encoding"], "gzip")
  const times: number[] = []
  const chunks: Buffer[] = []
  for await (const chunk of body) {
    times.push(Date.now())
    chunks.push(chunk as Buffer)
  }
  t.true((times.at(-1) ?? 0) - (times[0] ?? 0) > 150)
  t.is(gunzipSync(Buffer.concat(chunks)).toString(), "data: one\n\ndata: two\n\n")
})

ava("bodyLimit: 413 by length at once, by bytes as they come", async (t) => {
  t.is((await call("/limit/x", {}, "POST", "1234567890")).status, 200)
  t.is((await call("/limit/x", {}, "POST", "12345678901")).status, 413)
  const chunked = "POST /limit/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
  t.regex(
    await exchange(gateway.port, `${chunked}8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n`, /\n$/),
    /^HTTP\/1.1 413 /,
  )
})

ava("headers of the response are set, added and removed; one is added to the request", async (t) => {
  const { fields, body } = await call("/headers/x")
  t.deepEqual([fields.etag, fields["x-more"], fields["content-type"]], ['"mine"', "1", undefined])
  t.is(JSON.parse(body.toString()).headers["x-added"], "2")
})

ava("redirects and answers are filled in with what the path captured, and cannot be broken out of", async (t) => {
  const go = await call("/go/a%20b?q=1", { host: "shop.example" })
  t.deepEqual([go.status, go.fields.location], [308, "https://shop.example/items/a%20b?q=1"])
  t.is((await call("/away/x/y")).fields.location, "/new/x/y")
  const say = await call("/say/7")
  t.deepEqual([say.body.toString(), say.fields["x-id"]], ['{"id":"7","x":{}}', "7"])
  const split = await exchange(
    gateway.port,
    "GET /say/a%0d%0aset-cookie:x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  )
  t.notRegex(split, /^set-cookie/im)
})
