/** http: a GET whose status and body are as expected. Its own connection each time, as a new client would. */
import { request } from "node:http"
import { constants } from "node:http2"
import type { Socket } from "node:net"
import type { NormalizedHealth } from "../config/index.ts"
import type { Check } from "./check.ts"
import { connectHttp2, open } from "./wire.ts"

/** Longer bodies are not searched further. */
const MAX_BODY = 65_536

export const httpCheck: Check = (address, health, custom) =>
  (health.protocol.startsWith("h2") ? http2Check : http1Check)(address, health, custom)

const http2Check: Check = (endpoint, health) =>
  new Promise((resolve) => {
    const session = connectHttp2(endpoint, health)
    const end = (passed: boolean): void => {
      clearTimeout(timer)
      session.destroy()
      resolve(passed)
    }
    const timer = setTimeout(() => end(false), health.timeoutMs)
    session.on("close", () => end(false))
    const authority = health.host ?? `${endpoint.host}:${endpoint.port}`
    const path = { [constants.HTTP2_HEADER_PATH]: health.path, [constants.HTTP2_HEADER_AUTHORITY]: authority }
    const stream = session.request({ ...path, "user-agent": "tidegate-health" })
    let statusFits = false
    let body = ""
    stream.setEncoding("utf8")
    stream.on("response", (fields) => {
      statusFits = fits(Number(fields[constants.HTTP2_HEADER_STATUS]), health)
    })
    stream.on("data", (part: string) => {
      if (body.length < MAX_BODY) body += part
    })
    stream.on("end", () => end(statusFits && (health.body === null || body.includes(health.body))))
    stream.on("error", () => end(false))
  })

const http1Check: Check = (address, health) =>
  new Promise((resolve) => {
    const { host, port } = address
    const headers = { host: health.host ?? `${host}:${port}`, "user-agent": "tidegate-health", connection: "close" }
    const createConnection = (): Socket => open(address, health)
    const call = request({ host, port, path: health.path, headers, createConnection }, (response) => {
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
