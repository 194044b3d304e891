/** What a request says once: who asks, by key and by login, and by how many hops it may go. Raw sockets say it twice. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { fileURLToPath } from "node:url"
import ava from "ava"
import { converse, headers } from "../defence/http2-frames.ts"
import { collect, exchange, type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
let gateway: Running
let origin: Awaited<ReturnType<typeof upstream>>

ava.before(async () => {
  const { stdout } = spawnSync(process.execPath, [command, "passwd", "ann"], { input: "secret\n", encoding: "utf8" })
  const hash = /\$argon2[^\s"']+/.exec(stdout)?.[0] ?? ""
  origin = await upstream(({ rawHeaders }, response) => response.end(rawHeaders.join("\n")))
  gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [origin.address] } },
    routes: [
      { when: { path: "/login" }, to: { respond: { body: "in" } }, use: [{ basicAuth: { users: { ann: hash } } }] },
      {
        when: { path: "/key" },
        to: { respond: { body: "in" } },
        use: [{ apiKey: { header: "x-key", query: "key", keys: { ann: "of-ann" } } }],
      },
      { when: { path: "/steps" }, to: "to", use: [{ setHeader: { "x-a": "b" } }] },
      { when: { path: "/traced", method: "TRACE" }, to: "to" },
      { when: { path: "/**" }, to: "to" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.server.closeAllConnections()
  origin?.server.close()
})

const head = (path: string, lines: readonly string[], method = "GET"): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`

async function status(path: string, lines: readonly string[], method = "GET"): Promise<number> {
  return Number((await exchange(gateway.port, head(path, lines, method))).split(" ")[1])
}

const login = (password: string): string => `Authorization: Basic ${Buffer.from(`ann:${password}`).toString("base64")}`

test("a second Authorization or Origin is refused: the service might take that one", async (t) => {
  t.is(await status("/login", [login("secret")]), 200)
  t.is(await status("/login", [login("secret"), login("other")]), 400)
  t.is(await status("/any", ["Authorization: a", "authorization: a"]), 400)
  t.is(await status("/any", ["Origin: https://a.example", "Origin: https://b.example"]), 400)
  const pseudo = { ":method": "GET", ":scheme": "http", ":path": "/any", ":authority": "a" }
  const logins = ["a", "b"].map((value) => ["authorization", value] as const)
  const asked = headers(1, [...Object.entries(pseudo), ...logins])
  t.is((await converse(gateway.port, asked, (answers) => answers.has(1))).get(1)?.[0], "400")
})

test("a second API key is refused, in a header and in the query", async (t) => {
  t.is(await status("/key", ["X-Key: of-ann"]), 200)
  t.is(await status("/key?key=of-ann", []), 200)
  t.is(await status("/key", ["X-Key: of-ann", "x-key: of-ann"]), 400)
  for (const query of ["key=of-ann&key=b", "key=b&key=of-ann"]) t.is(await status(`/key?${query}`, []), 400, query)
  t.is(await status("/key?key=of-ann&keys=b", []), 200)
})

test("hops are counted behind the steps of a route, too, and no number is too large", async (t) => {
  const hops = async (path: string, lines: readonly string[]): Promise<string | undefined> =>
    /\nmax-forwards\n(.*)/i.exec(await exchange(gateway.port, head(path, lines, "OPTIONS")))?.[1]
  for (const path of ["/any", "/steps"]) {
    t.is(await hops(path, ["Max-Forwards: 5"]), "4", path)
    t.is(await hops(path, ["Max-Forwards: 99999999999999999999"]), "4294967294", path)
  }
})

test("TRACE goes where a route names it, and nowhere else", async (t) => {
  t.is(await status("/any", [], "TRACE"), 405)
  t.is(await status("/steps", ["Max-Forwards: 3"], "TRACE"), 405)
  t.is(await status("/traced", [], "TRACE"), 200)
  t.is(await status("/traced", ["Max-Forwards: 0"], "TRACE"), 405)
})

test("what https names is not asked for in the clear", async (t) => {
  const ask = (scheme: string): Promise<string> =>
    exchange(gateway.port, `GET ${scheme}://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  t.regex(await ask("http"), /^HTTP\/1\.1 200 /)
  t.regex(await ask("https"), /^HTTP\/1\.1 421 /)
})

test("who leaves loses the place in the line for comparisons of passwords; who only sends no more is told", async (t) => {
  const ask = (password: string): Socket => {
    const socket = connect({ port: gateway.port, host: "127.0.0.1", allowHalfOpen: true })
    socket.on("error", () => {})
    socket.write(head("/login", [login(password)]))
    return socket
  }
  const alone = ask("alone")
  alone.end()
  t.regex(await collect(alone), /^HTTP\/1\.1 401 /, "without a line nobody loses anything")
  const many = Array.from({ length: 200 }, (_, n) => ask(`wrong ${n}`))
  const last = many.pop() as Socket
  await once(last, "connect")
  last.end()
  t.regex(await collect(last), /^HTTP\/1\.1 503 /)
  for (const socket of many) socket.destroy()
  const began = Date.now()
  t.is(await status("/login", [login("mine")]), 401)
  // One comparison takes tens of milliseconds: 200 of them would take ten times as long.
  t.true(Date.now() - began < 2_000, `${Date.now() - began} ms`)
})
