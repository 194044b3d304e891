/** Californium's client (Client.java), whose jars Maven brings beside the packages of Node at the first use. */
import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { run } from "../run-gateway.ts"

const home = fileURLToPath(new URL(".", import.meta.url))
const jars = fileURLToPath(new URL("../../../node_modules/.cache/californium", import.meta.url))

/** Whether there are a JVM and Maven; throws in CI, where they must be. */
export function hasCalifornium(): boolean {
  const missing = ["java", "mvn"].filter((program) => spawnSync("which", [program]).status !== 0)
  if (missing.length > 0 && process.env.CI)
    throw new Error(`${missing.join(" and ")} missing; install them with: apt-get install default-jdk-headless maven`)
  return missing.length === 0
}

export interface Californium {
  out(): string
  /** Tells it a line, and waits for words in all that it has said. */
  tell(line: string, answer: RegExp, timeoutMs?: number): Promise<boolean>
  stop(): void
}

/** A client of `to`; with an identity and a key it speaks DTLS with a connection id. */
export async function californium(to: string, ...key: [] | [identity: string, key: string]): Promise<Californium> {
  if (!existsSync(jars))
    await run("mvn", ["-q", "-f", home, "dependency:copy-dependencies", `-DoutputDirectory=${jars}`], 100_000)
  const child = spawn("java", ["-cp", `${jars}/*`, join(home, "Client.java"), to, ...key])
  let out = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      out += data
    })
  }
  const tell = async (line: string, answer: RegExp, timeoutMs = 20_000): Promise<boolean> => {
    if (line !== "") child.stdin.write(`${line}\n`)
    for (const end = Date.now() + timeoutMs; Date.now() < end && !answer.test(out); ) await sleep(20)
    return answer.test(out)
  }
  return { out: () => out, tell, stop: () => child.kill() }
}
