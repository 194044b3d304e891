/** TLS on the port of everything else: curl, mosquitto, mqtt.js, ws and openssl as clients. */
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { connect as connectTls } from "node:tls"
import { fileURLToPath } from "node:url"
import ava from "ava"
import mqtt from "mqtt"
import { WebSocket, WebSocketServer } from "ws"
import { collect, has, type Running, run, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tidegate-tls-"))
const file = (name: string): string => join(folder, name)
let gateway: Running
let api: Awaited<ReturnType<typeof upstream>>
const hosts: (string | undefined)[] = []

/** `tidegate cert dev`, into the folder of this test. */
function cert(...args: string[]): void {
  const made = spawnSync(process.execPath, [command, "cert", "dev", "--dir", folder, ...args], { encoding: "utf8" })
  if (made.status !== 0) throw new Error(made.stderr + made.stdout)
}

ava.before(async () => {
  cert("other.test", "*.wild.test")
  for (const end of ["pem", "key"]) copyFileSync(file(`dev.${end}`), file(`other.${end}`))
  cert("--client", "device-1")
  cert()
  api = await upstream((request, response) => {
    hosts.push(request.headers["x-forwarded-proto"] as string)
    response.end(`hello ${"x".repeat(request.url === "/api/big" ? 3_000_000 : 0)}`)
  })
  new WebSocketServer({ server: api.server }).on("connection", (socket) => {
    socket.on("message", (data) => socket.send(`echo ${String(data)}`))
  })
  const pair = { cert: file("dev.pem"), key: file("dev.key") }
  gateway = await runGateway({
    listeners: [
      {
        address: "tcp://127.0.0.1:0",
        tls: { certificates: [pair, { cert: file("other.pem"), key: file("other.key") }] },
      },
      {
        address: "tcp://[::1]:0",
        tls: { ...pair, minVersion: "1.3", clientAuth: { ca: file("dev-ca.pem") } },
      },
    ],
    upstreams: { api: { endpoints: [api.address] } },
    routes: [
      { when: { path: "/api/**" }, to: "api" },
      { when: { path: "/who", sni: "other.test" }, to: { respond: { status: 200, body: "by sni" } } },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  api?.server.close()
  rmSync(folder, { recursive: true, force: true })
})

const curl = (...args: string[]) => run("curl", ["-sS", "--cacert", file("dev-ca.pem"), ...args])
const mutualPort = (): string => /tcp:\/\/\[::1\]:(\d+)/.exec(gateway.output())?.[1] ?? "0"

test("plaintext and TLS share the port, and the upstream hears how the client came", async (t) => {
  hosts.length = 0
  t.is((await curl("--http1.1", `https://localhost:${gateway.port}/api/a`)).out, "hello ")
  t.is((await curl(`http://localhost:${gateway.port}/api/a`)).out, "hello ")
  t.deepEqual(hosts, ["https", "http"])
})

test("a large answer and a large body pass through TLS whole", async (t) => {
  const url = `https://localhost:${gateway.port}/api/big`
  t.is((await curl("--http1.1", "-o", "/dev/null", "-w", "%{size_download}", url)).out, "3000006")
  const sent = await curl(
    "--http1.1",
    "-T",
    file("dev.pem"),
    "-o",
    "/dev/null",
    "-w",
    "%{http_code} %{size_upload}",
    url,
  )
  t.is(sent.out, `200 ${readFileSync(file("dev.pem")).length}`)
})

test("the certificate is chosen by server name, and a host it does not cover is misdirected", async (t) => {
  const at = ["--resolve", `other.test:${gateway.port}:127.0.0.1`, "--resolve", `x.wild.test:${gateway.port}:127.0.0.1`]
  t.is((await curl("--http1.1", ...at, `https://other.test:${gateway.port}/who`)).out, "by sni")
  const code = ["-o", "/dev/null", "-w", "%{http_code}"]
  t.is((await curl("--http1.1", ...at, ...code, `https://x.wild.test:${gateway.port}/who`)).out, "404")
  const misdirected = await curl(
    "--http1.1",
    ...code,
    "-H",
    "Host: other.test",
    `https://localhost:${gateway.port}/api/a`,
  )
  t.is(misdirected.out, "421")
})

test("a WebSocket works in TLS, proxied and with topics", async (t) => {
  const ca = readFileSync(file("dev-ca.pem"))
  const socket = new WebSocket(`wss://localhost:${gateway.port}/api/socket`, { ca })
  await new Promise((resolve) => socket.on("open", resolve))
  const answer = new Promise((resolve) => socket.on("message", (data) => resolve(String(data))))
  socket.send("hi")
  t.is(await answer, "echo hi")
  socket.close()
})

test("MQTT works in TLS and over WebSocket in TLS", async (t) => {
  const ca = readFileSync(file("dev-ca.pem"))
  const received: string[] = []
  const overTls = await mqtt.connectAsync(`mqtts://localhost:${gateway.port}`, { ca: [ca], protocolVersion: 5 })
  const overWss = await mqtt.connectAsync(`wss://localhost:${gateway.port}/mqtt`, { ca: [ca] } as mqtt.IClientOptions)
  overTls.on("message", (_topic, payload) => received.push(String(payload.length)))
  overWss.on("message", (_topic, payload) => received.push(`ws ${payload.length}`))
  await overTls.subscribeAsync("big", { qos: 1 })
  await overWss.subscribeAsync("big", { qos: 1 })
  for (let count = 0; count < 20; count++) await overTls.publishAsync("big", "x".repeat(100_000), { qos: 1 })
  for (const end = Date.now() + 5_000; received.length < 40 && Date.now() < end; ) await sleep(20)
  t.deepEqual([...new Set(received)].sort(), ["100000", "ws 100000"])
  t.is(received.length, 40)
  await overTls.endAsync()
  await overWss.endAsync()
})

if (has("mosquitto_pub", "mosquitto-clients")) {
  test("mosquitto's clients publish and subscribe in TLS", async (t) => {
    const to = ["--cafile", file("dev-ca.pem"), "-h", "localhost", "-p", String(gateway.port), "-t", "tls/a"]
    await run("mosquitto_pub", [...to, "-m", "kept", "-q", "1", "-r"])
    t.is((await run("mosquitto_sub", [...to, "-C", "1", "-W", "5"])).out.trim(), "kept")
  })
}

test("a listener that requires a client certificate refuses who has none", async (t) => {
  const url = `https://[::1]:${mutualPort()}/api/a`
  t.not((await curl("--http1.1", url)).code, 0)
  const shown = await curl("--http1.1", "--cert", file("device-1.pem"), "--key", file("device-1.key"), url)
  t.is(shown.out, "hello ")
  const old = await curl(
    "--http1.1",
    "--tls-max",
    "1.2",
    "--cert",
    file("device-1.pem"),
    "--key",
    file("device-1.key"),
    url,
  )
  t.not(old.code, 0, "the floor is 1.3")
})

if (has("openssl", "openssl")) {
  test("sessions are resumed by ticket", async (t) => {
    const to = [
      "s_client",
      "-connect",
      `127.0.0.1:${gateway.port}`,
      "-servername",
      "localhost",
      "-CAfile",
      file("dev-ca.pem"),
    ]
    const first = spawnSync("openssl", [...to, "-tls1_2", "-sess_out", file("session")], {
      input: "Q\n",
      encoding: "utf8",
    })
    t.regex(first.stdout, /New, TLSv1\.2/)
    const again = spawnSync("openssl", [...to, "-tls1_2", "-sess_in", file("session")], {
      input: "Q\n",
      encoding: "utf8",
    })
    t.regex(again.stdout, /Reused, TLSv1\.2/)
  })
}

test("a client that does not trust the certificate is counted", async (t) => {
  const socket = connectTls({ port: gateway.port, rejectUnauthorized: true })
  await new Promise((resolve) => socket.on("error", resolve).on("secureConnect", resolve))
  socket.destroy()
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(50)) {
    const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
    if (/tidegate_tls_handshakes_total\{outcome="failure"\} [1-9]/.test(metrics)) {
      t.regex(metrics, /tidegate_tls_certificate_expiry_seconds\{listener="tcp:\/\/127\.0\.0\.1:0"\} 3\d{7}/)
      return t.pass()
    }
  }
  t.fail("no failed handshake was counted")
})

test("another certificate under the same path is shown to new connections; old ones live on", async (t) => {
  const serial = (): string =>
    spawnSync("openssl", ["s_client", "-connect", `127.0.0.1:${gateway.port}`, "-servername", "localhost"], {
      input: "Q\n",
      encoding: "utf8",
    })
      .stdout.split("-----")
      .slice(0, 4)
      .join()
  const before = serial()
  const options = { port: gateway.port, host: "localhost", ca: readFileSync(file("dev-ca.pem")) }
  const kept = connectTls(options)
  kept.write("GET /api/a HTTP/1.1\r\nhost: localhost\r\n\r\n")
  t.regex(await collect(kept, /hello/), /hello/)
  cert()
  for (const end = Date.now() + 10_000; serial() === before && Date.now() < end; ) await sleep(200)
  t.not(serial(), before)
  kept.write("GET /api/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
  t.regex(await collect(kept), /hello/)
  kept.destroy()
})

test("a key that does not fit is named where it stands, before anything changes", async (t) => {
  const config = {
    listeners: [{ address: "tcp://127.0.0.1:0", tls: { cert: file("dev.pem"), key: file("other.key") } }],
  }
  gateway.configure(config)
  for (const end = Date.now() + 8_000; !/is not the private key of/.test(gateway.output()) && Date.now() < end; )
    await sleep(50)
  t.regex(gateway.output(), /other\.key is not the private key of .*dev\.pem/)
  const swapped = { cert: file("dev.key"), key: file("dev.pem") }
  gateway.configure({ listeners: [{ address: "tcp://127.0.0.1:0", tls: swapped }] })
  for (const end = Date.now() + 8_000; !/no private key/.test(gateway.output()) && Date.now() < end; ) await sleep(50)
  t.regex(gateway.output(), /dev\.key holds no certificate \(PEM\)/)
  t.regex(gateway.output(), /dev\.pem holds no private key \(PEM\)/)
  t.is((await curl("--http1.1", `https://localhost:${gateway.port}/api/a`)).out, "hello ")
})
