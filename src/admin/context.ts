/** What the routes of the admin API work with. */
import type { ConfigDesk, Gateway } from "../gateway/index.ts"
import type { MetricsExporter } from "../metrics/index.ts"
import type { AuditLog } from "./audit.ts"

export interface AdminContext {
  readonly gateway: Gateway
  /** Null for a gateway inside a program: its configuration is the program's. */
  readonly desk: ConfigDesk | null
  readonly metrics: MetricsExporter
  readonly audit: AuditLog
}

/** An answer of native, which is JSON already. */
export function parsed(json: string): unknown {
  return JSON.parse(json) as unknown
}
