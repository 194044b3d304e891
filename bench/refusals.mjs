// F9: connections that are refused before a byte is read: CPU time of one, and how many a
// core can refuse in a second. One connection holds all that the source may have.
import { connect } from "node:net"
import { gated } from "./lib/load.mjs"
import { options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, ranged, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { tidegateFront } from "./peers/tidegate.mjs"

const asked = options()
const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const COUNT = asked.quick ? 2_000 : 40_000
const peer = tidegateFront({ limits: { maxConnectionsPerSource: 1 } })
opening("Connections refused by source, plain TCP, 64 at a time", [peer], asked)
const { pid, port, child } = await peer.start(1)
const holder = await hold()
// A request, again and again: else it would be closed for its silence.
const keep = setInterval(() => holder.write(REQUEST), 500)

const rounds = (await interleave([peer], asked.rounds, measure)).get(peer.name)
clearInterval(keep)
holder.destroy()
await stop(child)
const cpuUs = spread(rounds.map((round) => round.cpuUs))
const rate = spread(rounds.map((round) => round.refused / round.seconds))
const head = ["", "CPU us a refusal", "refusals/s of one core", "refusals/s as measured"]
say(table(head, [[peer.name, ranged(cpuUs, 2), (1_000_000 / cpuUs.median).toFixed(0), rate.median.toFixed(0)]]))
if (rounds.some(({ accepted }) => accepted > 0)) fail("a connection was taken that should have been refused")
save("refusals", { asked, results: rounds })

/** The one connection that is let in, as soon as the look whether the gateway listens is forgotten. */
async function hold() {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect(port, "127.0.0.1", () => socket.write(REQUEST))
    const isIn = await new Promise((resolve) => {
      socket.once("data", () => resolve(true))
      socket.once("close", () => resolve(false))
      // The close tells it.
      socket.on("error", () => {})
    })
    if (isIn) return socket.resume()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return fail("no connection was let in")
}

async function measure() {
  const load = await gated(["connect-storm", "--port", String(port), "--connections", String(COUNT), "--gate"])
  const before = cpuMs(pid)
  const result = await load.go()
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / COUNT }
}
