/** createGateway: a gateway inside a program; its policies run in the calling thread. */
import { type ConfigInput, type LoadedConfig, loadData } from "../config/index.ts"
import { Gateway } from "./gateway.ts"
import type { GatewayOptions } from "./options.ts"

/** Checks the configuration; `start()` binds. Throws CONFIG_INVALID with every problem. */
export async function createGateway<const U extends string>(
  config: ConfigInput<U> = {},
  options: GatewayOptions = {},
): Promise<Gateway> {
  return new Gateway(loadData(config), options)
}

/** The same for a configuration that is already loaded. */
export function createLoadedGateway(loaded: LoadedConfig, options: GatewayOptions = {}): Gateway {
  return new Gateway(loaded, options)
}
