/** `compress` on what the gateway answers itself: fixed answers, templates, handlers, files. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:http2"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import ava from "ava"
import { request } from "undici"
import { exchange, has, type Running, runGateway } from "./run-gateway.ts"

let gateway: Running
const site = mkdtempSync(join(tmpdir(), "tidegate-packed-"))
const text = Array.from({ length: 400 }, (_, index) => `line ${index}`).join("\n")
/** More than a worker compresses by itself, and several chunks of a file. */
const long = text.repeat(200)

ava.before(async () => {
  mkdirSync(join(site, "sub"))
  writeFileSync(join(site, "page.html"), long)
  writeFileSync(join(site, "short.txt"), "short")
  writeFileSync(join(site, "photo.png"), long)
  writeFileSync(join(site, "sub/index.html"), text)
  gateway = await runGateway(`
import { defineConfig, defineHandler, handler, path } from "tidegate"
const text = ${JSON.stringify(text)}
const make = defineHandler({ name: "make", maxBodyBytes: 10, handle: ({ path }) => ({
  status: 200,
  headers: { "content-type": "application/json", etag: '"h"' },
  body: JSON.stringify(path === "/make/long" ? Array(200).fill(text) : { text }),
}) })
const use = [{ compress: {} }]
export default defineConfig({
  workers: 1,
  admin: { address: "127.0.0.1:0" },
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  routes: [
    { when: path("/fixed"), to: { respond: { body: text, headers: { etag: '"f"' } } }, use },
    { when: path("/plain"), to: { respond: { body: text } } },
    { when: path("/tiny"), to: { respond: { body: "tiny" } }, use },
    { when: path("/filled/{name}"), to: { respond: { body: "{name}\\n" + text } }, use },
    { when: path("/make/**"), to: handler(make), use },
    { when: path("/files/**"), to: { directory: ${JSON.stringify(site)} }, use },
  ],
})`)
})

ava.after.always(async () => {
  await gateway?.stop()
  rmSync(site, { recursive: true, force: true })
})

async function get(path: string, accept: string, method: "GET" | "HEAD" = "GET", more: Record<string, string> = {}) {
  const headers = { "accept-encoding": accept, ...more }
  const {
    statusCode,
    headers: fields,
    body,
  } = await request(`http://127.0.0.1:${gateway.port}${path}`, {
    method,
    headers,
  })
  return { status: statusCode, fields, body: Buffer.from(await body.arrayBuffer()) }
}

const unpack = { br: brotliDecompressSync, gzip: gunzipSync, identity: (body: Buffer) => body }

for (const [path, plain] of [
  ["/fixed", text],
  ["/filled/x", `x\n${text}`],
  ["/make/short", JSON.stringify({ text })],
  ["/make/long", JSON.stringify(Array(200).fill(text))],
  ["/files/page.html", long],
  ["/files/sub/", text],
] as const) {
  ava(`${path} comes in what the client likes, the same bytes each time`, async (t) => {
    for (const coding of ["br", "gzip", "identity"] as const) {
      const { status, fields, body } = await get(path, coding)
      t.deepEqual([status, fields["content-encoding"] ?? "identity", fields.vary], [200, coding, "accept-encoding"])
      t.is(unpack[coding](body).toString(), plain)
      if (coding !== "identity") t.true(body.length < plain.length / 3)
      if (!path.startsWith("/filled")) t.is(String(fields.etag).startsWith("W/"), coding !== "identity")
    }
    if (has("zstd", "zstd")) {
      const { fields, body } = await get(path, "zstd")
      t.is(fields["content-encoding"], "zstd")
      t.is(spawnSync("zstd", ["-d", "-c"], { input: body, maxBuffer: 1e8 }).stdout.toString(), plain)
    }
  })
}

ava("what is short, of another type, or of a route without compress stays as it is", async (t) => {
  for (const path of ["/tiny", "/plain", "/files/short.txt", "/files/photo.png"]) {
    t.is((await get(path, "br, gzip")).fields["content-encoding"], undefined, path)
  }
})

ava("a file in a coding has a weak tag of its own that validates; ranges are of the file as it is", async (t) => {
  const { fields } = await get("/files/page.html", "gzip")
  t.is(fields["accept-ranges"], undefined)
  const known = await get("/files/page.html", "gzip", "GET", { "if-none-match": String(fields.etag) })
  t.deepEqual([known.status, known.fields.etag], [304, fields.etag])
  t.is((await get("/files/page.html", "br", "GET", { "if-none-match": String(fields.etag) })).status, 200)
  const part = await get("/files/page.html", "gzip", "GET", { range: "bytes=0-3" })
  t.deepEqual([part.status, part.body.toString(), part.fields["content-encoding"]], [206, "line", undefined])
  const head = await get("/files/page.html", "gzip", "HEAD")
  t.deepEqual([head.fields["content-encoding"], head.body.length], ["gzip", 0])
})

ava("who speaks HTTP/1.0 gets files as they are; HTTP/2 gets them compressed", async (t) => {
  const old = await exchange(gateway.port, "GET /files/page.html HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
  t.true(old.includes(`content-length: ${long.length}`))
  const client = connect(`http://127.0.0.1:${gateway.port}`)
  const stream = client.request({ ":path": "/files/page.html", "accept-encoding": "br" })
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  t.is(brotliDecompressSync(Buffer.concat(chunks)).toString(), long)
  client.close()
})

ava("answers that are compressed are counted", async (t) => {
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  const found = /tidegate_policy_calls_total\{outcome="compiled",policy="compress"\} (\d+)/.exec(metrics)
  t.true(Number(found?.[1] ?? 0) > 0)
})
