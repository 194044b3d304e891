// h2load as the load: HTTP/2, or HTTP/1.1 in TLS, for a time.
import { once } from "node:events"
import { CORE, find, start } from "./process.mjs"

/** How to get it, if it is not there. */
export function missingH2load() {
  return find("h2load") === undefined ? "apt-get install nghttp2-client" : undefined
}

/** Requests over `connections` with `streams` each; how many were answered, and what failed. */
export async function h2load({ port, scheme, connections, streams = 1, seconds, path, h1 = false }) {
  const urls = Array.from({ length: 64 }, (_, index) => `${scheme}://127.0.0.1:${port}/r${index}/${path}`)
  const shape = ["-t1", `-c${connections}`, `-m${streams}`, "-D", String(seconds), ...(h1 ? ["--h1"] : [])]
  const child = start(CORE.load, "h2load", [...shape, ...urls], { stdout: "pipe" })
  let text = ""
  child.stdout.on("data", (bytes) => {
    text += bytes
  })
  await once(child, "close")
  const numbers = /requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored/.exec(text)
  const codes = /status codes: (\d+) 2xx/.exec(text)
  if (numbers === null || codes === null) throw new Error(`${child.complaint()}\n${text}`)
  const [, done, failed, errored] = numbers.map(Number)
  return { requests: done, seconds, errors: failed + errored + Math.max(0, done - Number(codes[1])) }
}
