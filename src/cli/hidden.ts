/** One line of standard input that nobody should see: never from the command line, not shown on a terminal. */
import { createInterface } from "node:readline"
import { createInterface as createAsking } from "node:readline/promises"
import { Writable } from "node:stream"

/** The first line; empty where there is none. */
export async function readHidden(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) {
    for await (const line of createInterface({ input: process.stdin })) return line
    return ""
  }
  process.stderr.write(prompt)
  // What is typed is echoed into nothing.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const input = createAsking({ input: process.stdin, output, terminal: true })
  const line = await input.question("")
  input.close()
  process.stderr.write("\n")
  return line
}
