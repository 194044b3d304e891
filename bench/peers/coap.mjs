// Servers of CoAP over UDP that hold a value that was put to /t/bench.
import { createSocket } from "node:dgram"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { packaged } from "../lib/packages.mjs"
import { CORE, find, freePort, output, start } from "../lib/process.mjs"

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))
// What the tests fetch for themselves.
const JARS = path("../../node_modules/.cache/californium")
const AIOCOAP = path("../../node_modules/.cache/aiocoap")

/** Waits until a ping is answered by a Reset. */
export async function answering(port, child) {
  const socket = createSocket("udp4")
  let answered = false
  socket.on("message", () => {
    answered = true
  })
  socket.on("error", () => {})
  for (const until = Date.now() + 10_000; Date.now() < until && !answered; ) {
    if (child.exitCode !== null) break
    socket.send(Buffer.from([0x40, 0, 1, 1]), port, "127.0.0.1")
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  socket.close()
  if (!answered) throw new Error(`nothing answers on port ${port}; ${child.complaint()}`)
}

async function serve(command, args, options) {
  const port = await freePort()
  const child = start(CORE.gateway, command, args(port).map(String), options)
  await answering(port, child)
  return { port, child, pid: child.pid }
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

function ofCalifornium(name, deduplicator) {
  const fetched = `mvn -f test/e2e/californium dependency:copy-dependencies -DoutputDirectory=${JARS}`
  return {
    name,
    missing: () => {
      if (find("java") === undefined) return "apt-get install default-jdk-headless"
      return existsSync(JARS) ? undefined : fetched
    },
    version: () => /californium-core\D*([\d.]+)\.jar/.exec(output("ls", [JARS]))?.[1] ?? "?",
    start: () => {
      const program = path("./serve/Californium.java")
      return serve("java", (port) => ["-cp", `${JARS}/*`, program, port, deduplicator])
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
