/** The gateway's log: one JSON line each on standard error. Control characters are escaped by JSON. */
import { pino } from "pino"
import type { Gateway } from "../gateway/index.ts"

/** Native and pino count levels alike: 10 trace to 60 fatal. */
export function createLog(gateway: Gateway, level: string): void {
  const log = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  )
  gateway.on("log", ({ level: number, text }) => {
    if (number >= 50) log.error(text)
    else if (number >= 40) log.warn(text)
    else if (number >= 30) log.info(text)
    else log.debug(text)
  })
  gateway.on("access", ({ route, upstream, status, durationUs, text }) =>
    log.info({ route, upstream, status, durationUs }, text),
  )
  gateway.on("applied", ({ version }) => log.debug({ version }, "applied"))
  gateway.on("audit", ({ caller, method, path, status }) => log.info({ caller, status }, `admin: ${method} ${path}`))
  gateway.on("refused", ({ message }) => log.warn(`not applied: ${message}`))
}
