/** The admin API over a running gateway. */
import { join } from "node:path"
import type { FastifyInstance } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import { formatHostPort } from "../config/index.ts"
import { messageOf, TidegateError } from "../errors.ts"
import type { ConfigDesk, Gateway } from "../gateway/index.ts"
import { MetricsExporter } from "../metrics/index.ts"
import { createAdminApp } from "./app.ts"
import { AuditLog } from "./audit.ts"
import { ownMetrics } from "./own-metrics.ts"

export { createAdminApp } from "./app.ts"

/** The app of a gateway. Null `desk`: its configuration belongs to a program. */
export function createAdmin(
  admin: NormalizedAdmin,
  gateway: Gateway,
  desk: ConfigDesk | null,
): Promise<FastifyInstance> {
  const metrics = new MetricsExporter(gateway.native, () => ownMetrics(gateway))
  const { dataDir } = gateway.loaded.config
  const audit = new AuditLog(dataDir === null ? null : join(dataDir, "audit.log"), (text) => gateway.warn(text))
  return createAdminApp(admin, { gateway, desk, metrics, audit })
}

/** Binds it; the address with the port it got. Throws PORT_IN_USE. */
export async function listenAdmin(app: FastifyInstance, admin: NormalizedAdmin): Promise<string> {
  try {
    return await app.listen({ host: admin.host, port: admin.port })
  } catch (error) {
    const inUse = (error as NodeJS.ErrnoException).code === "EADDRINUSE"
    const text = `the admin address ${formatHostPort(admin)} cannot be bound: ${messageOf(error)}`
    throw new TidegateError(inUse ? "PORT_IN_USE" : "ADDRESS_NOT_AVAILABLE", text, {
      cause: error,
      hint: 'choose another one with "admin"',
    })
  }
}
