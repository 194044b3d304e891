/** createGateway: a gateway inside a program; its policies run in the calling thread. */
import type { ConfigInput } from "./config/index.ts"
import type { Gateway, GatewayOptions } from "./gateway/index.ts"

/**
 * Checks the configuration; `start()` binds. Throws CONFIG_INVALID with every problem.
 * The addon and the schemas are loaded by the first call, not by the import.
 */
export async function createGateway<const U extends string>(
  config: ConfigInput<U> = {},
  options: GatewayOptions = {},
): Promise<Gateway> {
  const { createGateway: create } = await import("./gateway/index.ts")
  return create(config, options)
}
