// Servers of CoAP over UDP and DTLS that hold a value that was put to /t/bench.
import { createSocket } from "node:dgram"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { packaged } from "../lib/packages.mjs"
import { CORE, find, freePort, output, start } from "../lib/process.mjs"

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))
// What the tests fetch for themselves.
const JARS = path("../../node_modules/.cache/californium")
const AIOCOAP = path("../../node_modules/.cache/aiocoap")

/** What a client of DTLS proves itself by. */
export const PSK = { identity: "bench", key: "secret" }

/** A ping, which is answered by a Reset. */
const PING = Buffer.from([0x40, 0, 1, 1])

/** A hello with TLS_PSK_WITH_AES_128_CCM_8, which is answered by a HelloVerifyRequest. */
const HELLO = hello()

function hello() {
  const body = Buffer.concat([Buffer.from("fefd", "hex"), Buffer.alloc(32, 1), Buffer.from("00000002c0a80100", "hex")])
  const length = Buffer.from([0, 0, body.length])
  const message = Buffer.concat([Buffer.from([1]), length, Buffer.alloc(5), length, body])
  return Buffer.concat([Buffer.from("16fefd", "hex"), Buffer.alloc(8), Buffer.from([0, message.length]), message])
}

/** Waits until something answers; `secure`: over DTLS. */
export async function answering(port, child, { secure = false } = {}) {
  const socket = createSocket("udp4")
  let answered = false
  socket.on("message", () => {
    answered = true
  })
  socket.on("error", () => {})
  for (const until = Date.now() + 30_000; Date.now() < until && !answered; ) {
    if (child.exitCode !== null) break
    socket.send(secure ? HELLO : PING, port, "127.0.0.1")
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  socket.close()
  if (!answered) throw new Error(`nothing answers on port ${port}; ${child.complaint()}`)
}

async function serve(command, args, { secure, ...options } = {}) {
  const port = await freePort()
  const child = start(CORE.gateway, command, args(port).map(String), options)
  await answering(port, child, { secure })
  return { port, child, pid: child.pid }
}

/** libcoap listens for DTLS at the port behind the one that it is told. */
async function serveSecure(command, args) {
  const port = await freePort()
  const child = start(CORE.gateway, command, args(port).map(String))
  await answering(port + 1, child, { secure: true })
  return { port: port + 1, child, pid: child.pid }
}

export const libcoap = {
  name: "libcoap",
  missing: () => (find("coap-server-notls") === undefined ? "apt-get install libcoap3-bin" : undefined),
  version: () => /v?(\d+\.\d+\.\d+)/.exec(output("sh", ["-c", "coap-server-notls -h 2>&1 || true"]))?.[1] ?? "?",
  start: () => serve("coap-server-notls", (port) => ["-A", "127.0.0.1", "-p", port, "-d", "10"]),
}

/** The same, with four of five notifications not confirmable. */
export const libcoapNon = {
  ...libcoap,
  name: "libcoap -N",
  start: () => serve("coap-server-notls", (port) => ["-A", "127.0.0.1", "-p", port, "-d", "10", "-N"]),
}

/** The same over DTLS, with the library that a package was built with. */
const libcoapWith = (library) => ({
  ...libcoap,
  name: `libcoap ${library}`,
  start: () => {
    const psk = ["-h", "", "-k", PSK.key]
    return serveSecure(`coap-server-${library}`, (port) => ["-A", "127.0.0.1", "-p", port, "-d", "10", ...psk])
  },
})

function ofCalifornium(name, deduplicator, psk) {
  const fetched = `mvn -f test/e2e/californium dependency:copy-dependencies -DoutputDirectory=${JARS}`
  return {
    name,
    /** Its memory is a heap that grows as it likes. */
    hasHeap: true,
    missing: () => {
      if (find("java") === undefined) return "apt-get install default-jdk-headless"
      return existsSync(JARS) ? undefined : fetched
    },
    version: () => /californium-core\D*([\d.]+)\.jar/.exec(output("ls", [JARS]))?.[1] ?? "?",
    start: () => {
      const program = path("./serve/Californium.java")
      const proof = psk === undefined ? [] : [psk.identity, psk.key]
      const options = { secure: psk !== undefined }
      return serve("java", (port) => ["-cp", `${JARS}/*`, program, port, deduplicator, ...proof], options)
    },
  }
}

/** As it is shipped, and without its de-duplication. */
const californium = ofCalifornium("californium", "MARK_AND_SWEEP")
const californiumBare = ofCalifornium("californium without", "NO_DEDUPLICATOR")

const nodeCoap = {
  name: "node-coap",
  ...packaged("coap"),
  start: () => serve(process.execPath, (port) => [path("./serve/node-coap.mjs"), port]),
}

const aiocoap = {
  name: "aiocoap",
  missing: () => (existsSync(AIOCOAP) ? undefined : `python3 -m pip install --target ${AIOCOAP} aiocoap`),
  version: () => /aiocoap-([\d.]+)\.dist-info/.exec(output("ls", [AIOCOAP]))?.[1] ?? "?",
  start: () => {
    const env = { PYTHONPATH: AIOCOAP }
    return serve("python3", (port) => [path("./serve/aiocoap_server.py"), port], { env })
  },
}

export const COAP_PEERS = [libcoap, californium, californiumBare, nodeCoap, aiocoap]

export const LIBCOAP_DTLS = [libcoapWith("openssl"), libcoapWith("gnutls")]

/** Those that speak DTLS; node-coap does not, and aiocoap only by a library of its own. */
export const DTLS_PEERS = [
  ...LIBCOAP_DTLS,
  ofCalifornium("californium", "MARK_AND_SWEEP", PSK),
  ofCalifornium("californium without", "NO_DEDUPLICATOR", PSK),
]
