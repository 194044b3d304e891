/** What an alert does when it fires and when it is over. Nothing waits for it; what fails is said in the log. */
import { spawn } from "node:child_process"
import type { NormalizedAlert } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { AlertChange } from "./rule.ts"

/** What an action tells, as JSON. */
export interface AlertReport {
  readonly name: string
  readonly state: AlertChange
  readonly metric: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number | null
  readonly above: number | null
  readonly below: number | null
  /** Milliseconds since 1970. */
  readonly at: number
}

export interface AlertOutlets {
  readonly log: (level: number, text: string) => void
  readonly publish: (topic: string, payload: string) => Promise<unknown>
}

const LEVELS = { info: 30, warn: 40, error: 50 } as const
const TIMEOUT_MS = 5_000
const TRIES = 3

export function act(alert: NormalizedAlert, report: AlertReport, { log, publish }: AlertOutlets): void {
  const { name, state, value } = report
  const failed = (what: string) => (error: unknown) => log(40, `alert "${name}": ${what} failed: ${messageOf(error)}`)
  for (const { log: level, webhook, topic, command } of alert.actions) {
    if (level !== null) log(LEVELS[level], `alert "${name}" ${state}: ${describe(report)}`)
    if (webhook !== null) post(webhook, report).catch(failed("its webhook"))
    if (topic !== null)
      publish(topic.replaceAll("{name}", name), JSON.stringify(report)).catch(failed(`publishing to ${topic}`))
    if (command.length > 0) {
      const fill = (text: string): string =>
        text.replaceAll("{name}", name).replaceAll("{state}", state).replaceAll("{value}", String(value))
      execute(command.map(fill)).catch(failed(`the command ${command[0]}`))
    }
  }
}

function describe({ metric, labels, value, above, below }: AlertReport): string {
  const where = Object.entries(labels).map(([label, wanted]) => `${label}="${wanted}"`)
  const bound = above === null ? `below ${below}` : `above ${above}`
  return `${metric}${where.length > 0 ? `{${where.join(",")}}` : ""} is ${value}, the alert is for ${bound}`
}

async function post(url: string, report: AlertReport): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS)
      const headers = { "content-type": "application/json", "user-agent": "tidegate-alerts" }
      const answer = await fetch(url, {
        method: "POST",
        headers,
        body: JSON.stringify(report),
        signal,
        redirect: "error",
      })
      await answer.arrayBuffer()
      if (answer.ok) return
      throw new Error(`it answered ${answer.status}`)
    } catch (error) {
      if (tries === TRIES) throw error
      await new Promise((resolve) => setTimeout(resolve, 500 * tries).unref())
    }
  }
}

function execute([program = "", ...args]: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "ignore", timeout: TIMEOUT_MS, killSignal: "SIGKILL" })
    child.on("error", reject)
    child.on("exit", (code, signal) => (code === 0 ? resolve() : reject(new Error(`it ended with ${code ?? signal}`))))
  })
}
