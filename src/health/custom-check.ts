/** custom: a function of the configuration, see defineHealthCheck. */
import type { HealthCheckDefinition } from "../policy/index.ts"
import type { Check } from "./check.ts"

export const customCheck: Check = async ({ id, host, port }, { timeoutMs }, custom) => {
  if (custom === null) return false
  const ended = new AbortController()
  const late = new Promise<boolean>((resolve) => {
    ended.signal.addEventListener("abort", () => resolve(false))
  })
  const timer = setTimeout(() => ended.abort(), timeoutMs)
  try {
    return await Promise.race([ask(custom, { id, host, port, signal: ended.signal }), late])
  } finally {
    clearTimeout(timer)
  }
}

/** Only `true` is healthy; an exception is not. */
async function ask({ check }: HealthCheckDefinition, endpoint: Parameters<typeof check>[0]): Promise<boolean> {
  try {
    return (await check(endpoint)) === true
  } catch {
    return false
  }
}
