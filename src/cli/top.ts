/** tidegate top: the live numbers of a running gateway, or one look with --once or --json. */
import { setTimeout as sleep } from "node:timers/promises"
import { type Command, InvalidArgumentError } from "commander"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson } from "./output.ts"
import { renderTop, type Stats } from "./top-screen.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
  readonly once?: boolean
  readonly interval: number
}

const [ALTERNATE, MAIN, HOME, CLEAR_REST] = [
  "\u001b[?1049h\u001b[?25l",
  "\u001b[?25h\u001b[?1049l",
  "\u001b[H",
  "\u001b[J",
]

export function addTop(program: Command): void {
  const command = program
    .command("top")
    .description("live view: rates by protocol, routes, upstreams, drops; q or Ctrl-C ends it")
    .option("--interval <seconds>", "between two looks, 0.2 to 60", seconds, 1)
    .option("--once", "print one look and end; rates are over one interval")
    .action(top)
  example(withAdmin(command), "tidegate top", "tidegate top --once", "tidegate top --json")
}

async function top(options: Options): Promise<void> {
  const client = await AdminClient.open(options)
  const look = async (): Promise<Stats> => (await client.call("/v1/stats")) as Stats
  let before = await look()
  if (options.json) return printJson(before)
  if (options.once || !process.stdout.isTTY) {
    await sleep(options.interval * 1_000)
    return print(renderTop(before, await look()))
  }
  const ended = new AbortController()
  const leave = openScreen(() => ended.abort())
  try {
    while (!ended.signal.aborted) {
      await sleep(options.interval * 1_000, undefined, { signal: ended.signal }).catch(() => {})
      if (ended.signal.aborted) return
      const now = await look()
      process.stdout.write(`${HOME}${clip(renderTop(before, now))}${CLEAR_REST}`)
      before = now
    }
  } finally {
    leave()
  }
}

/** Takes the terminal over; gives back how to leave it as it was. */
function openScreen(end: () => void): () => void {
  const { stdin, stdout } = process
  const onKey = (key: Buffer): void => {
    if (key.toString() === "q" || key[0] === 3) end()
  }
  stdout.write(ALTERNATE)
  process.once("SIGTERM", end)
  process.once("SIGINT", end)
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.on("data", onKey)
  return () => {
    stdin.off("data", onKey)
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdout.write(MAIN)
  }
}

/** What the terminal has room for; each line clears what stood behind it. */
function clip(text: string): string {
  const { rows = 24, columns = 80 } = process.stdout
  const lines = text.split("\n").slice(0, rows - 1)
  return lines.map((line) => `${line.slice(0, columns)}\u001b[K\n`).join("")
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0.2 && value <= 60)) throw new InvalidArgumentError("0.2 to 60 seconds")
  return value
}
