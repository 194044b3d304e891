/**
 * Which configuration is in force: the file's, unless one was put over the admin API
 * since the file changed last. Every version that was applied is remembered.
 */
import { join } from "node:path"
import {
  ConfigHistory,
  type ConfigOrigin,
  type ConfigVersion,
  fileHash,
  type LoadedConfig,
  loadConfig,
  loadData,
  watchFile,
} from "../config/index.ts"
import { messageOf, TidegateError } from "../errors.ts"
import type { Functions } from "../policy/index.ts"
import type { Gateway } from "./gateway.ts"

/** What was chosen at the start. */
export interface InitialConfig {
  readonly loaded: LoadedConfig
  readonly origin: ConfigOrigin
  /** A put configuration that no longer fits, and why; the file's is used then. */
  readonly refused: string | null
}

/** The configuration to start with: the put one if it still wins and still fits, else the file's. */
export function initialConfig(fromFile: LoadedConfig): InitialConfig {
  const { latest } = openHistory(fromFile)
  const wins = latest !== null && latest.origin !== "file" && latest.fileHash === fileHash(fromFile.file)
  if (!wins) return { loaded: fromFile, origin: "file", refused: null }
  try {
    return { loaded: withFileOf(fromFile, latest.data), origin: latest.origin, refused: null }
  } catch (error) {
    return { loaded: fromFile, origin: "file", refused: messageOf(error) }
  }
}

export interface ConfigDeskOptions {
  readonly gateway: Gateway
  /** As the file says it, whatever is in force. */
  readonly fromFile: LoadedConfig
  readonly origin: ConfigOrigin
}

export class ConfigDesk {
  readonly #gateway: Gateway
  readonly #history: ConfigHistory
  readonly #watching = new AbortController()
  #fromFile: LoadedConfig

  /** Made after the gateway's start: the data directory is locked then. */
  constructor({ gateway, fromFile, origin }: ConfigDeskOptions) {
    this.#gateway = gateway
    this.#fromFile = fromFile
    this.#history = openHistory(fromFile)
    this.#remember(gateway.loaded, origin)
  }

  get versions(): readonly ConfigVersion[] {
    return this.#history.versions
  }

  /** Applies a configuration that came over the admin API. Throws CONFIG_INVALID with every problem. */
  async put(data: unknown): Promise<ConfigVersion> {
    const loaded = await this.#refusing(async () => withFileOf(this.#fromFile, data))
    await this.#gateway.reload(loaded)
    return this.#remember(loaded, "put")
  }

  /** Back to the version before. Throws CONFIG_NO_PREVIOUS. */
  async rollback(): Promise<ConfigVersion> {
    const { previous } = this.#history
    if (previous === null) throw new TidegateError("CONFIG_NO_PREVIOUS", "there is no earlier version")
    const loaded = withFileOf(this.#fromFile, previous.data)
    await this.#gateway.reload(loaded)
    return this.#remember(loaded, "rollback", previous.version)
  }

  /** Reads the file again and applies it; from then on it wins. */
  async reloadFile(): Promise<void> {
    const fromFile = await this.#refusing(() => loadConfig(this.#fromFile.file ?? undefined))
    await this.#gateway.reload(fromFile)
    this.#fromFile = fromFile
    this.#remember(fromFile, "file")
  }

  /** Follows the file until `close`; tells each outcome, null for applied. */
  async watch(told: (error: unknown) => void): Promise<void> {
    const { file } = this.#fromFile
    if (file === null) return
    for await (const _ of watchFile(file, this.#watching.signal)) {
      await this.reloadFile().then(
        () => told(null),
        (error: unknown) => told(error),
      )
    }
  }

  close(): void {
    this.#watching.abort()
  }

  /** What cannot even be loaded is counted like what cannot be applied. */
  async #refusing(load: () => Promise<LoadedConfig>): Promise<LoadedConfig> {
    try {
      return await load()
    } catch (error) {
      this.#gateway.refuse(error)
      throw error
    }
  }

  #remember({ data }: LoadedConfig, origin: ConfigOrigin, restores?: number): ConfigVersion {
    const entry = { at: new Date().toISOString(), origin, fileHash: fileHash(this.#fromFile.file), data }
    return this.#history.add(restores === undefined ? entry : { ...entry, restores })
  }
}

/** Data under the file's roof: its folder, its functions, its place in messages. */
function withFileOf(fromFile: LoadedConfig, data: unknown): LoadedConfig {
  const functions: Functions = fromFile.functions
  const folder = fromFile.file === null ? process.cwd() : join(fromFile.file, "..")
  const loaded = loadData(data, { folder, functions, local: fromFile.data })
  // Where the process keeps its data and is administered is decided at its start.
  const { dataDir, admin } = fromFile.config
  return { ...loaded, file: fromFile.file, config: { ...loaded.config, dataDir, admin } }
}

function openHistory({ config }: LoadedConfig): ConfigHistory {
  return new ConfigHistory(config.dataDir === null ? null : join(config.dataDir, "config"))
}
