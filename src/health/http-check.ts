/** http: a GET whose status and body are as expected. Its own connection each time, as a new client would. */
import { request } from "node:http"
import type { NormalizedHealth } from "../config/index.ts"
import type { Check } from "./check.ts"

/** Longer bodies are not searched further. */
const MAX_BODY = 65_536

export const httpCheck: Check = (address, health) =>
  new Promise((resolve) => {
    const { host, port } = address
    const headers = { host: health.host ?? `${host}:${port}`, "user-agent": "tidegate-health", connection: "close" }
    const call = request({ host, port, path: health.path, headers, agent: false }, (response) => {
      const statusFits = fits(response.statusCode ?? 0, health)
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (part: string) => {
        if (body.length < MAX_BODY) body += part
      })
      response.on("end", () => resolve(statusFits && (health.body === null || body.includes(health.body))))
      response.on("error", () => resolve(false))
    })
    const timer = setTimeout(() => call.destroy(new Error("timeout")), health.timeoutMs)
    call.on("error", () => resolve(false))
    call.on("close", () => {
      clearTimeout(timer)
      resolve(false)
    })
    call.end()
  })

function fits(status: number, health: NormalizedHealth): boolean {
  return health.status.length === 0 ? status >= 200 && status < 400 : health.status.includes(status)
}
