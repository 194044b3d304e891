// The command line of every script here, with what --quick changes.
import { parseArgs } from "node:util"

const HELP = `node bench/<name>.mjs [options]
  --quick            one second a round, three rounds: shows that it works, measures nothing
  --rounds N         rounds of each peer in each shape, the first is dropped (default 6)
  --seconds S        length of a round (default 4)
  --only a,b         only these peers
  --shapes a,b       only these shapes (http-proxy.mjs, mqtt.mjs)
  --size B           mqtt.mjs: bytes of a payload (default 64)
  --check            syscalls.mjs: more calls than the goals allow is a failure
  --observers N      coap.mjs: of one resource (default 10000)
  --connections N    memory.mjs: how many are held (default 4000)`

/** Reads the options, or prints the help and exits. */
export function options() {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      only: { type: "string" },
      shapes: { type: "string" },
      connections: { type: "string" },
      observers: { type: "string" },
      size: { type: "string" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  })
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    process.exit(0)
  }
  const { quick, check } = values
  return {
    quick,
    check,
    size: whole(values.size, 64, 1),
    rounds: whole(values.rounds, quick ? 3 : 6, 2),
    seconds: whole(values.seconds, quick ? 1 : 4, 1),
    connections: whole(values.connections, quick ? 500 : 4_000, 10),
    observers: whole(values.observers, 10_000, 10),
    only: list(values.only),
    shapes: list(values.shapes),
  }
}

/** Those of `all` that were asked for by name, or all of them. */
export function chosen(all, names) {
  const unknown = (names ?? []).filter((name) => !all.some((one) => one.name === name))
  if (unknown.length > 0) throw new Error(`no ${unknown.join(", ")}; there is ${all.map((one) => one.name).join(", ")}`)
  return names === undefined ? all : all.filter(({ name }) => names.includes(name))
}

function list(text) {
  return text?.split(",").filter((name) => name !== "")
}

function whole(text, standard, least) {
  const value = text === undefined ? standard : Number(text)
  if (!Number.isInteger(value) || value < least) throw new Error(`${text} is not a whole number of at least ${least}`)
  return value
}
