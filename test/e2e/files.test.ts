/** A directory as target: what curl, a browser and a hostile client get of it. */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib"
import ava from "ava"
import { request } from "undici"
import { exchange, has, type Running, runGateway } from "./run-gateway.ts"

const test = ava
let gateway: Running
const base = mkdtempSync(join(tmpdir(), "tidegate-site-"))
const site = join(base, "site")
const page = `<h1>hello</h1>${"x".repeat(5_000)}`
const large = Buffer.alloc(3_000_000, "0123456789abcdef")

ava.before(async () => {
  mkdirSync(join(site, "sub"), { recursive: true })
  mkdirSync(join(site, ".git"))
  writeFileSync(join(base, "secret.txt"), "secret")
  writeFileSync(join(site, ".git/config"), "secret")
  writeFileSync(join(site, "index.html"), page)
  writeFileSync(join(site, "index.html.br"), brotliCompressSync(page))
  writeFileSync(join(site, "index.html.gz"), gzipSync(page))
  writeFileSync(join(site, "a b.txt"), "with a space")
  writeFileSync(join(site, "sub/index.html"), "the sub page")
  writeFileSync(join(site, "ten.txt"), "0123456789")
  writeFileSync(join(site, "empty"), "")
  writeFileSync(join(site, "large.bin"), large)
  symlinkSync("../secret.txt", join(site, "link.txt"))
  symlinkSync(base, join(site, "up"))
  symlinkSync("ten.txt", join(site, "same.txt"))
  execFileSync("mkfifo", [join(site, "pipe")])
  utimesSync(join(site, "ten.txt"), 784_111_777, 784_111_777)
  gateway = await runGateway({
    routes: [
      {
        when: { path: "/assets/**" },
        to: { directory: site },
        use: [{ setResponseHeader: { "cache-control": "max-age=60" } }],
      },
      { when: { path: "/old/**" }, to: { directory: site }, use: [{ rewrite: { path: "/sub/{rest}" } }] },
      { when: { host: "files.localhost", path: "/**" }, to: { directory: site } },
      { when: { path: "/gone/**" }, to: { directory: join(base, "nothing") } },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  rmSync(base, { recursive: true, force: true })
})

const fetchFile = async (path: string, headers: Record<string, string> = {}, method: "GET" | "HEAD" = "GET") => {
  const {
    statusCode,
    headers: fields,
    body,
  } = await request(`http://127.0.0.1:${gateway.port}${path}`, { headers, method })
  return { status: statusCode, fields, body: Buffer.from(await body.arrayBuffer()) }
}

test("a file has its type, its length, an entity tag and a date, and what a policy adds", async (t) => {
  const { status, fields, body } = await fetchFile("/assets/ten.txt")
  t.is(status, 200)
  t.is(body.toString(), "0123456789")
  t.is(fields["content-type"], "text/plain; charset=utf-8")
  t.is(fields["content-length"], "10")
  t.is(fields["last-modified"], "Sun, 06 Nov 1994 08:49:37 GMT")
  t.is(fields["accept-ranges"], "bytes")
  t.is(fields["cache-control"], "max-age=60")
  t.regex(String(fields.etag), /^"[^"]+"$/)
  t.is((await fetchFile("/assets/a%20b.txt")).body.toString(), "with a space")
  t.is((await fetchFile("/assets/same.txt")).body.toString(), "0123456789")
  t.is((await fetchFile("/assets/empty")).fields["content-length"], "0")
})

test("HEAD has the same fields and no body", async (t) => {
  const got = await fetchFile("/assets/ten.txt")
  const asked = await fetchFile("/assets/ten.txt", {}, "HEAD")
  t.is(asked.body.length, 0)
  const same = { date: "", connection: "" }
  t.deepEqual({ ...asked.fields, ...same }, { ...got.fields, ...same })
})

test("a large file comes whole, in pieces", async (t) => {
  t.true((await fetchFile("/assets/large.bin")).body.equals(large))
})

test("a directory has its index; without the slash it is a redirect that keeps the query", async (t) => {
  t.is((await fetchFile("/assets/sub/")).body.toString(), "the sub page")
  const { status, fields } = await fetchFile("/assets/sub?a=1")
  t.deepEqual([status, fields.location], [301, "/assets/sub/?a=1"])
  t.is((await fetchFile("/assets")).fields.location, "/assets/")
  t.is((await fetchFile("/old/")).body.toString(), "the sub page")
  t.is((await fetchFile("/", { host: "files.localhost" })).body.toString(), page)
})

test("conditional requests: 304 to who knows it, 412 to who meant another", async (t) => {
  const { etag } = (await fetchFile("/assets/ten.txt")).fields as { etag: string }
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetchFile("/assets/ten.txt", headers)).status
  t.is(await status({ "if-none-match": etag }), 304)
  t.is(await status({ "if-none-match": `"x", W/${etag}` }), 304)
  t.is(await status({ "if-none-match": '"x"' }), 200)
  t.is(await status({ "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT" }), 304)
  t.is(await status({ "if-modified-since": "Sun, 06 Nov 1994 08:49:36 GMT" }), 200)
  t.is(await status({ "if-match": '"x"' }), 412)
  t.is(await status({ "if-unmodified-since": "Sun, 06 Nov 1994 08:49:36 GMT" }), 412)
  const { fields, body } = await fetchFile("/assets/ten.txt", { "if-none-match": etag })
  t.deepEqual([fields.etag, fields["content-length"], body.length], [etag, undefined, 0])
})

test("ranges: from either end, several, too far, of another state", async (t) => {
  const range = async (range: string, more: Record<string, string> = {}) =>
    fetchFile("/assets/ten.txt", { range, ...more })
  const first = await range("bytes=2-4")
  t.deepEqual([first.status, first.body.toString(), first.fields["content-range"]], [206, "234", "bytes 2-4/10"])
  t.is((await range("bytes=7-")).body.toString(), "789")
  t.is((await range("bytes=-2")).body.toString(), "89")
  t.is((await range("bytes=0-100")).body.toString(), "0123456789")
  const far = await range("bytes=10-")
  t.deepEqual([far.status, far.fields["content-range"]], [416, "bytes */10"])
  t.is((await range("lines=1-2")).status, 200)
  t.is((await range("bytes=")).status, 200)
  t.is((await range("Bytes=2-4")).body.toString(), "234", "RFC 9110 section 14.1: units have no case")
  // Section 14.2: only GET knows ranges.
  const asked = await fetchFile("/assets/ten.txt", { range: "bytes=2-4" }, "HEAD")
  t.deepEqual([asked.status, asked.fields["content-length"], asked.fields["content-range"]], [200, "10", undefined])
  t.is((await range("bytes=0-5,3-7")).status, 200)
  t.is((await range("bytes=0-1", { "if-range": '"other"' })).status, 200)
  const { status, fields, body } = await range("bytes=0-1,8-9")
  t.is(status, 206)
  const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(String(fields["content-type"]))?.[1]
  const parts = body.toString().split(`--${boundary}`)
  t.is(parts.length, 4)
  t.regex(parts[1] ?? "", /content-range: bytes 0-1\/10\r\n\r\n01\r\n$/)
  t.regex(parts[2] ?? "", /content-range: bytes 8-9\/10\r\n\r\n89\r\n$/)
  t.is(parts[3], "--\r\n")
})

test("a precompressed sibling goes to who accepts it, with an entity tag of its own", async (t) => {
  const encoded = async (accept: string) => fetchFile("/assets/", { "accept-encoding": accept })
  const [plain, br, gz] = await Promise.all([encoded("identity"), encoded("gzip, br"), encoded("gzip, br;q=0.1")])
  t.deepEqual(
    [plain.fields["content-encoding"], br.fields["content-encoding"], gz.fields["content-encoding"]],
    [undefined, "br", "gzip"],
  )
  t.is(brotliDecompressSync(br.body).toString(), page)
  t.is(gunzipSync(gz.body).toString(), page)
  t.is(new Set([plain, br, gz].map(({ fields }) => fields.etag)).size, 3)
  for (const { fields } of [plain, br, gz]) {
    t.is(fields.vary, "accept-encoding")
    t.is(fields["content-type"], "text/html; charset=utf-8")
  }
  t.is(br.fields["content-length"], String(statSync(join(site, "index.html.br")).size))
})

test("nothing beside the directory is served, nothing hidden, nothing that is no file", async (t) => {
  for (const path of [
    "/assets/../secret.txt",
    "/assets/%2e%2e/secret.txt",
    "/assets/..%2fsecret.txt",
    "/assets/link.txt",
    "/assets/up/secret.txt",
    "/assets/.git/config",
    "/assets/%2egit/config",
    "/assets/ten.txt%00.html",
    "/assets//etc/passwd",
    "/assets/ten.txt/",
    "/assets/pipe",
    "/assets/none",
    "/gone/",
    "/assets/..;/secret.txt",
    "/assets/sub/..%5c..%5csecret.txt",
    "/assets/%252e%252e/secret.txt",
  ]) {
    const answer = await exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    t.regex(answer, /^HTTP\/1.1 40[04] /, path)
    t.notRegex(answer, /secret\n|root:/, path)
  }
})

test("other methods are told which there are, and the connection goes on", async (t) => {
  const post = "POST /assets/ten.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"
  const get = "GET /assets/ten.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
  const answers = await exchange(gateway.port, post + get + get)
  t.regex(answers, /^HTTP\/1.1 405 [\s\S]*allow: GET, HEAD\r\n[\s\S]*HTTP\/1.1 200 [\s\S]*0123456789$/)
})

test("curl goes on with a download where it stopped", (t) => {
  if (!has("curl", "curl")) return t.pass("no curl")
  const out = join(base, "part.bin")
  writeFileSync(out, large.subarray(0, 1_000_000))
  execFileSync("curl", ["-s", "-C", "-", "-o", out, `http://127.0.0.1:${gateway.port}/assets/large.bin`])
  t.is(statSync(out).size, large.length)
})
