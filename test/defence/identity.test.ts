/** Lines 10, 11, 16 and 34: who a client says it is, and who may say so. */
import { once } from "node:events"
import { connect } from "node:net"
import ava from "ava"
import { collect, exchange, type Running, runGateway } from "../e2e/run-gateway.ts"
import { type Origin, startOrigin } from "./origin.ts"

const test = ava.serial
let gateway: Running
let origin: Origin

ava.before(async () => {
  origin = await startOrigin()
  const address = "tcp://127.0.0.1:0"
  gateway = await runGateway({
    workers: 1,
    limits: { halfOpenMs: 600 },
    listeners: [
      { address, protocols: "detect" },
      { address: "tcp://[::1]:0", protocols: "detect", proxyProtocolFrom: ["::1/128"], trustedProxies: ["10.0.0.0/8"] },
    ],
    upstreams: { origin: { endpoints: [`127.0.0.1:${origin.port}`] } },
    routes: [
      { when: { path: "/policy" }, to: "origin", use: [{ setHeader: { "x-tenant": "ours" } }] },
      { when: { path: "/**" }, to: "origin" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.stop()
})

/** What the origin got of a request with these header lines. */
async function sent(lines: readonly string[], path = "/x"): Promise<string> {
  origin.taken()
  await exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines.join("\r\n")}\r\n\r\n`, /\r\n\r\n$/)
  return origin.taken()
}

/** The port of the second listener, which wants a PROXY header. */
const proxied = (): number => Number(/\[::1\]:(\d+)/.exec(gateway.output())?.[1])

async function throughProxy(bytes: string | Buffer): Promise<string> {
  const socket = connect(proxied(), "::1", () => socket.write(bytes))
  const answer = await collect(socket, /\r\n\r\n$/)
  socket.destroy()
  return answer
}

for (const name of [
  "X-Forwarded-For",
  "X-Forwarded-Host",
  "X-Forwarded-Proto",
  "X-Forwarded-User",
  "X-Real-IP",
  "X-Client-Cert",
  "X-User-Id",
  "X-User",
  "X-Auth-Token",
  "X_Auth",
  "x_forwarded_for",
  "X_Real_IP",
  "X-Tidegate-Route",
  "Forwarded",
]) {
  test(`10, 11: ${name} of a stranger goes no further`, async (t) => {
    t.notRegex(await sent([`${name}: evil`]), /evil/)
  })
}

test("10: what Connection names is stripped, but not what frames and not what policies set", async (t) => {
  const seen = await sent(["Connection: x-secret, x-tenant, host", "X-Secret: evil", "X-Tenant: evil"], "/policy")
  t.notRegex(seen, /evil/)
  t.regex(seen, /x-tenant: ours\r\n/i)
  t.regex(seen, /\r\nHost: a\r\n/)
})

test("10: a header that a policy sets cannot be doubled in another spelling", async (t) => {
  const seen = await sent(["X_Tenant: evil", "x-TENANT: evil"], "/policy")
  t.notRegex(seen, /evil/)
  t.is(seen.match(/x.tenant/gi)?.length, 1)
})

test("11: the client's own address is what the origin reads", async (t) => {
  t.regex(await sent(["X-Forwarded-For: 9.9.9.9"]), /X-Forwarded-For: 127\.0\.0\.1\r\n/i)
})

test("16: two requests for the same address get two answers: nothing is cached", async (t) => {
  origin.taken()
  const request = "GET /same HTTP/1.1\r\nHost: a\r\n\r\n"
  await exchange(gateway.port, request + request, /x-saw[\s\S]*x-saw[\s\S]*\r\n\r\n$/)
  t.is(origin.taken().match(/GET \/same /g)?.length, 2)
})

test("34: a PROXY header of a trusted balancer is believed, version 1 and 2", async (t) => {
  origin.taken()
  await throughProxy("PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n")
  const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1")
  const header = Buffer.from([0x21, 0x11, 0, 12, 198, 51, 100, 8, 127, 0, 0, 1, 4, 210, 0, 80])
  await throughProxy(Buffer.concat([signature, header, Buffer.from("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")]))
  const seen = origin.taken()
  t.regex(seen, /X-Forwarded-For: 198\.51\.100\.7\r\n/i)
  t.regex(seen, /X-Forwarded-For: 198\.51\.100\.8\r\n/i)
})

test("34: from anybody else it opens nothing, and without it a trusted one opens nothing either", async (t) => {
  origin.taken()
  t.notRegex(
    await exchange(gateway.port, "PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    /200/,
  )
  t.notRegex(await throughProxy("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), /200/)
  t.is(origin.taken(), "")
})

for (const line of [
  "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
  "PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n",
  "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
  "PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n",
  "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
  `PROXY UNKNOWN ${"x".repeat(200)}\r\n`,
  "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
  "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
]) {
  test(`34: a malformed PROXY header opens nothing: ${JSON.stringify(line).slice(0, 50)}`, async (t) => {
    t.notRegex(await throughProxy(`${line}GET /x HTTP/1.1\r\nHost: a\r\n\r\n`), /200/)
  })
}

test("34: a PROXY header that does not come is waited for no longer than the half-open deadline", async (t) => {
  const started = Date.now()
  const socket = connect(proxied(), "::1", () => socket.write("PROXY TCP4 1.2"))
  socket.resume()
  await once(socket, "close")
  t.true(Date.now() - started < 3_000)
})
