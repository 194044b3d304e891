/** Certificates of X.509 version 1, which `openssl x509 -req` makes without extensions: of the gateway, of clients, of upstreams. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type RequestOptions, request, type Server } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import ava from "ava"
import { createAuthority } from "./authority.ts"
import { has, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-old-"))
const file = (name: string): string => join(folder, name)
let gateway: Running
let service: Server

/** What a client with that certificate hears, or the code of its error. */
function ask(listener: number, name: string | undefined, options: RequestOptions = {}): Promise<string> {
  const own =
    name === undefined ? {} : { cert: readFileSync(file(`${name}.pem`)), key: readFileSync(file(`${name}.key`)) }
  const ports = [...gateway.output().matchAll(/tcp:\/\/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port))
  const trust = { ca: readFileSync(file("ca.pem")), checkServerIdentity: () => undefined, agent: false as const }
  return new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port: ports[listener], path: "/api", ...trust, ...own, ...options })
    asked.on("response", async (response) => {
      let text = ""
      for await (const part of response) text += part
      resolve(text)
    })
    asked.on("error", () => resolve("refused"))
    asked.end()
  })
}

if (has("openssl", "openssl")) {
  test.before(async () => {
    const authority = createAuthority(folder)
    authority.issueOld("server", "/CN=localhost", 30)
    authority.issueOld("device", "/CN=device-7", 30)
    authority.issueOld("ended", "/CN=device-7", -1)
    mkdirSync(file("other"))
    createAuthority(file("other")).issueOld("device", "/CN=device-7", 30)
    const pair = { cert: readFileSync(file("server.pem")), key: readFileSync(file("server.key")) }
    const ca = readFileSync(file("ca.pem"))
    service = createServer({ ...pair, ca, requestCert: true, rejectUnauthorized: true }, (_, response) =>
      response.end("from the service"),
    ).listen(0, "127.0.0.1")
    await new Promise((resolve) => service.once("listening", resolve))
    const own = { cert: file("server.pem"), key: file("server.key") }
    const asks = { ca: file("ca.pem"), mode: "require" }
    const listener = (clientAuth: object) => ({ address: "tcp://127.0.0.1:0", tls: { ...own, clientAuth } })
    gateway = await runGateway({
      workers: 1,
      listeners: [listener(asks), listener({ ...asks, crl: file("ca.crl") })],
      upstreams: {
        api: {
          endpoints: [`127.0.0.1:${(service.address() as AddressInfo).port}`],
          protocol: "http1",
          tls: { verify: false, cert: file("device.pem"), key: file("device.key") },
        },
      },
      routes: [{ when: { path: "/api" }, to: "api" }],
    })
  })

  test.after.always(async () => {
    await gateway?.stop()
    service?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`a certificate of version 1 is shown and taken, in ${version}`, async (t) => {
      const options = { maxVersion: version, minVersion: version }
      t.is(await ask(0, "device", options), "from the service")
      t.is(await ask(0, undefined, options), "refused")
      t.is(await ask(0, "ended", options), "refused", "its time is over")
      t.is(await ask(0, "other/device", options), "refused", "an authority of the same name has another key")
    })
  }

  test("where there are revocation lists, version 1 is refused: nobody could look it up", async (t) => {
    t.is(await ask(1, "device"), "refused")
  })
}
