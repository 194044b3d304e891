/** The gateway with its admin API, until a signal. */
import { createAdmin, listenAdmin } from "../admin/index.ts"
import { type LoadedConfig, loadConfig, loadLastGood } from "../config/index.ts"
import { ConfigDesk, createLoadedGateway, type Gateway, initialConfig, PolicyThreadHost } from "../gateway/index.ts"
import { createLog } from "./log.ts"
import { complain, formatProblem, print, report } from "./output.ts"

export interface ServeOptions {
  /** The configuration file; undefined: the first default one. */
  readonly config?: string
  /** Start with the last good configuration where the file is broken. */
  readonly lastGood?: boolean
}

export async function serve({ config: named, lastGood }: ServeOptions): Promise<void> {
  const fromFile = await load(named, lastGood ?? false)
  for (const warning of fromFile.warnings) complain(formatProblem(warning, fromFile.file))
  const { loaded, origin, refused, document } = await initialConfig(fromFile)
  if (refused !== null) complain(`another configuration than the file's is left out: ${refused}`)
  const gateway = create(loaded)
  createLog(gateway, loaded.config.log.level)
  await gateway.start()
  const desk = new ConfigDesk({ gateway, fromFile, origin, document })
  const close = await openAdmin(gateway, desk)
  // Whoever reads the line may send a signal at once.
  followSignals({ gateway, desk, close: close.close })
  const addresses = gateway.stats().listeners.map(({ name, address }) => `${name.split("://")[0]}://${address}`)
  print(`listening ${addresses.join(" ")}${close.address === null ? "" : ` admin ${close.address}`}`)
  void desk.watch(told)
}

/** The file's configuration; with `lastGood` the newest one of the data directory where the file is broken. */
async function load(named: string | undefined, lastGood: boolean): Promise<LoadedConfig> {
  try {
    return await loadConfig(named)
  } catch (error) {
    const loaded = lastGood ? loadLastGood(named) : null
    if (loaded === null) throw error
    complain("the configuration is broken; starting with the last good one:")
    report(error)
    return loaded
  }
}

/** Policies live in their own thread where the file has any. */
function create(loaded: LoadedConfig): Gateway {
  const { file } = loaded
  if (file === null) return createLoadedGateway(loaded)
  return createLoadedGateway(loaded, { policyHost: (context) => new PolicyThreadHost(context, { file }) })
}

async function openAdmin(
  gateway: Gateway,
  desk: ConfigDesk,
): Promise<{ address: string | null; close: () => Promise<void> }> {
  const { admin } = gateway.loaded.config
  if (admin === null) return { address: null, close: async () => undefined }
  const app = await createAdmin(admin, gateway, desk)
  try {
    return { address: await listenAdmin(app, admin), close: () => app.close() }
  } catch (error) {
    await gateway.close()
    throw error
  }
}

type Told = (error: unknown) => void

const told: Told = (error) => {
  if (error === null) return complain("reloaded the configuration")
  complain("the changed configuration is not applied, the one before stays in force:")
  report(error)
}

interface Parts {
  readonly gateway: Gateway
  readonly desk: ConfigDesk
  readonly close: () => Promise<void>
}

function followSignals({ gateway, desk, close }: Parts): void {
  let stopping = false
  const stop = async (): Promise<void> => {
    // A second signal means it: whatever is left is cut.
    if (stopping) process.exit(1)
    stopping = true
    const { timeoutMs, delayMs } = gateway.loaded.config.drain
    complain(`draining, for ${(delayMs + timeoutMs) / 1_000} s at most; a second signal ends it now`)
    const remembered = desk.close()
    await gateway.drain()
    await remembered
    await close()
    await gateway.close()
    process.exit(0)
  }
  const fail = (error: unknown): void => process.exit(report(error))
  process.on("SIGTERM", () => void stop().catch(fail))
  process.on("SIGINT", () => void stop().catch(fail))
  process.on("SIGHUP", () => void desk.reloadFile().then(() => told(null), told))
}
