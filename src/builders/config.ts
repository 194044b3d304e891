/** defineConfig and the health checks of an upstream. */
import type { ConfigInput, UpstreamInput } from "../config/index.ts"

type CheckOptions = Omit<NonNullable<UpstreamInput["health"]>, "http" | "tcp">

/** Gives its argument back; it is there for its types. */
export function defineConfig<const U extends string>(config: ConfigInput<U>): ConfigInput<U> {
  return config
}

/** `health: http("/healthz")`. */
export const http = (path: string, options: CheckOptions = {}) => ({ http: path, ...options })

/** `health: tcp()`. */
export const tcp = (options: CheckOptions = {}) => ({ tcp: true as const, ...options })
