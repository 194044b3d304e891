// The gateway under test: the command as a user starts it, one worker, the release addon.
// TIDEGATE_NATIVE names another addon, TIDEGATE_ROOT another clone.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { stringify } from "yaml"
import { CORE, freePort, listening, scratch, start } from "../lib/process.mjs"
import { answering, PSK } from "./coap.mjs"

const ROOT = process.env.TIDEGATE_ROOT ?? fileURLToPath(new URL("../../", import.meta.url))
const BIN = join(ROOT, "bin", "tidegate.mjs")

/** One source opens everything here, and nothing may be dropped for a queue's length. */
const ROOMY = {
  limits: { maxConnections: 200_000, maxConnectionsPerSource: 200_000 },
  broker: { maxQueued: 1_000_000, maxQueuedBytes: 1_073_741_824 },
  mqtt: { maxInflight: 65_535 },
}

/** A WebSocket that is held is a connection and a request that is under way. */
const ROOMY_UPSTREAM = { maxConnections: 100_000, maxRequests: 100_000 }

async function run(config) {
  const [port, folder] = [await freePort(), scratch()]
  const file = join(folder, "tidegate.config.yaml")
  const listeners = [{ address: `tcp://127.0.0.1:${port}` }]
  writeFileSync(file, stringify({ workers: 1, admin: false, dataDir: false, listeners, ...ROOMY, ...config }))
  const child = start(CORE.gateway, process.execPath, [BIN, "run", "--config", file], { cwd: folder })
  await listening(port, child)
  return { port, child, pid: child.pid }
}

const common = {
  name: "tidegate",
  missing: () => (existsSync(join(ROOT, "dist", "cli", "main.js")) ? undefined : "npm run build"),
  version: () => JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
}

/** As a proxy: 64 routes to one upstream that is spoken to by `protocol`, one access record in a hundred; what else there is goes before what stands here. */
export const tidegateFront = ({ protocol = "http1", ...more } = {}) => ({
  ...common,
  start: (origin) =>
    run({
      upstreams: {
        origin: { endpoints: [`127.0.0.1:${origin}`], protocol, connectTimeoutMs: 2_000, ...ROOMY_UPSTREAM },
      },
      routes: Array.from({ length: 64 }, (_, index) => ({ when: { path: `/r${index}/**` }, to: "origin" })),
      log: { level: "info", sampleEvery: 100 },
      ...more,
    }),
})

export const tidegateHttp = tidegateFront()

/** As a broker. */
export const tidegateMqtt = { ...common, start: () => run({}) }

/** As a broker that keeps what it promises, in a folder of its own. */
export const tidegateDurable = (durability) => ({
  ...common,
  name: `tidegate ${durability}`,
  start: () => run({ dataDir: "data", broker: { ...ROOMY.broker, durability } }),
})

async function runCoap(listener, numbers) {
  const udp = await freePort()
  const listeners = [{ address: "tcp://127.0.0.1:0" }, { address: `udp://127.0.0.1:${udp}`, ...listener }]
  const coap = { maxObservers: 100_000, ...numbers }
  const config = { workers: 1, admin: false, dataDir: false, listeners, coap }
  const folder = scratch()
  const file = join(folder, "tidegate.config.yaml")
  writeFileSync(file, stringify(config))
  const child = start(CORE.gateway, process.execPath, [BIN, "run", "--config", file], { cwd: folder })
  await answering(udp, child, { secure: listener.dtls !== undefined })
  return { port: udp, child, pid: child.pid }
}

/** Each receives and sends one datagram by a system call. */
const SINGLE = { name: "tidegate unbatched", numbers: { datagramsPerCall: 1 } }

/** As a server of CoAP over UDP. */
export const tidegateCoap = { ...common, start: () => runCoap({ protocols: ["coap"] }) }

export const tidegateCoapSingle = {
  ...tidegateCoap,
  name: SINGLE.name,
  start: () => runCoap({ protocols: ["coap"] }, SINGLE.numbers),
}

const DTLS = { protocols: ["dtls"], dtls: { psk: [PSK] } }
/** Handshakes come as fast as they can. */
const ROOMY_DTLS = { maxHandshakesPerS: 1_000_000 }

/** The same over DTLS. */
export const tidegateDtls = { ...common, start: () => runCoap(DTLS, ROOMY_DTLS) }

export const tidegateDtlsSingle = {
  ...tidegateDtls,
  name: SINGLE.name,
  start: () => runCoap(DTLS, { ...ROOMY_DTLS, ...SINGLE.numbers }),
}
