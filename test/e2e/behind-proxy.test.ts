/** Behind a trusted proxy the client is who the proxy names: also where a try goes that is made again. */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { request } from "undici"
import { collect, runGateway, upstream } from "./run-gateway.ts"

test("a PROXY header is one by its first word, and the address that the client came to goes on", async (t) => {
  const openings: string[] = []
  const service = createServer((socket) => {
    socket.once("data", (data) => {
      openings.push(String(data).split("\r\n")[0] ?? "")
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    })
  }).listen(0, "127.0.0.1")
  await once(service, "listening")
  const gateway = await runGateway({
    workers: 1,
    listeners: [{ address: "tcp://127.0.0.1:0", proxyProtocolFrom: ["127.0.0.0/8"] }],
    upstreams: { it: { endpoints: [`127.0.0.1:${(service.address() as AddressInfo).port}`], proxyProtocol: "v1" } },
    routes: [{ when: { path: "/**" }, to: "it" }],
  })
  t.teardown(async () => {
    await gateway.stop()
    service.close()
  })
  const ask = async (opening: string): Promise<string> => {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write(`${opening}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, "latin1")
    return (await collect(socket)).slice(0, 12)
  }
  const ends = ["192.0.2.1 198.51.100.1 11 443", "2001:db8::1 2001:db8::2 11 443"]
  t.is(await ask(`PROXY TCP4 ${ends[0]}\r\n`), "HTTP/1.1 200")
  t.is(await ask(`PROXY TCP6 ${ends[1]}\r\n`), "HTTP/1.1 200")
  const binary = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\0\x0b\x01\xbb"
  t.is(await ask(binary), "HTTP/1.1 200")
  t.deepEqual(openings, [`PROXY TCP4 ${ends[0]}`, `PROXY TCP6 ${ends[1]}`, `PROXY TCP4 ${ends[0]}`])
  for (const bad of [
    `PUT TCP4 ${ends[0]}\r\n`,
    "POST UNKNOWN\r\n",
    `A${binary.slice(1)}`,
    "PROXY TCP4 192.0.2.1 198.51.100.1 +11 443\r\n",
  ])
    t.is(await ask(bad), "", bad)
})

test("a try that is made again goes where the client's address leads, not its proxy's", async (t) => {
  const origins = await Promise.all(["a", "b"].map((name) => upstream((_request, response) => response.end(name))))
  const gateway = await runGateway({
    workers: 1,
    log: { access: { format: "json", file: "access.log" } },
    listeners: [{ address: "tcp://127.0.0.1:0", trustedProxies: ["127.0.0.0/8"] }],
    upstreams: {
      to: {
        endpoints: ["127.0.0.1:1", ...origins.map(({ address }) => address)],
        balance: "ipHash",
        breaker: { failures: 0 },
        outlier: false,
      },
    },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(async () => {
    await gateway.stop()
    for (const { server } of origins) server.close()
  })
  for (let n = 1; n <= 60; n++) {
    const url = `http://127.0.0.1:${gateway.port}/`
    const { statusCode, body } = await request(url, { headers: { "x-forwarded-for": `192.0.2.${n}` } })
    t.is(statusCode, 200)
    await body.dump()
  }
  await sleep(1_500)
  const lines = readFileSync(join(gateway.folder, "access.log"), "utf8").trim().split("\n")
  const again = lines.map((line) => JSON.parse(line)).filter(({ retries }) => retries > 0)
  t.true(again.length > 5, `${again.length} clients met the dead endpoint first`)
  t.is(new Set(again.map(({ endpoint }) => endpoint)).size, 2, "one proxy's clients are spread")
})
