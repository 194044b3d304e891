/** `tracing` with its defaults and secrets. */
import type { NormalizeContext } from "./normalize-auth.ts"
import { readSecret } from "./normalize-auth.ts"
import type { NormalizedTracing } from "./normalized-tracing.ts"
import type { TracingData } from "./schema/tracing.ts"

export function normalizeTracing(data: TracingData | undefined, context: NormalizeContext): NormalizedTracing | null {
  if (data?.endpoint === undefined) return null
  const { endpoint, protocol = "http/protobuf", headers = {}, ratio = 1, serviceName = "tidegate", ...rest } = data
  const { attributes = {}, timeoutMs = 10_000, delayMs = 5_000, maxQueue = 2_048, maxBatch = 512 } = rest
  return {
    url: `${endpoint.replace(/\/+$/, "")}/v1/traces`,
    protocol,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, readSecret(value, ["tracing", "headers", name], context)]),
    ),
    ratio,
    serviceName,
    attributes,
    timeoutMs,
    delayMs,
    maxQueue,
    maxBatch: Math.min(maxBatch, maxQueue),
  }
}
