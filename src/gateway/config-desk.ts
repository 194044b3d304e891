/**
 * Which configuration is in force: the file's, or that of the source the file names, unless one
 * was put over the admin API since these changed last. Every version that was applied is remembered.
 */
import { join } from "node:path"
import {
  ConfigHistory,
  type ConfigOrigin,
  type ConfigVersion,
  fileHash,
  firstDocument,
  followConfig,
  type LoadedConfig,
  loadConfig,
  loadDataInTurns,
  parseSource,
  type SourceDocument,
  watchFile,
} from "../config/index.ts"
import { messageOf, TidegateError } from "../errors.ts"
import type { Functions } from "../policy/index.ts"
import { atOnce, inTurns } from "../turns.ts"
import { ChangeQueue } from "./change-queue.ts"
import type { Gateway } from "./gateway.ts"

/** What was chosen at the start. */
export interface InitialConfig {
  readonly loaded: LoadedConfig
  readonly origin: ConfigOrigin
  /** A put configuration that no longer fits, and why; the file's is used then. */
  readonly refused: string | null
  /** What the source said, if it was asked. */
  readonly document: SourceDocument | null
}

/** So long a start waits for the source when nothing of it is on disk. */
const FIRST_DOCUMENT_MS = 5_000

/**
 * The configuration to start with: the put one if it still wins and still fits; with a
 * `configSource` the last good one, or where there is none the source's; else the file's.
 * `waitMs` is for the source.
 */
export async function initialConfig(fromFile: LoadedConfig, waitMs = FIRST_DOCUMENT_MS): Promise<InitialConfig> {
  const { latest } = openHistory(fromFile)
  const { configSource } = fromFile.config
  const isNewest = configSource !== null || latest?.fileHash === fileHash(fromFile.file)
  const file = { loaded: fromFile, origin: "file", refused: null, document: null } as const
  try {
    if (latest !== null && latest.origin !== "file" && isNewest)
      return { ...file, loaded: await withFileOf(fromFile, latest.data), origin: latest.origin }
    if (configSource === null) return file
    const document = await firstDocument(configSource, waitMs)
    return { ...file, loaded: await sourced(fromFile, document), origin: "source", document }
  } catch (error) {
    return { ...file, refused: messageOf(error) }
  }
}

export interface ConfigDeskOptions {
  readonly gateway: Gateway
  /** As the file says it, whatever is in force. */
  readonly fromFile: LoadedConfig
  readonly origin: ConfigOrigin
  readonly document?: SourceDocument | null
}

export class ConfigDesk {
  readonly #gateway: Gateway
  readonly #history: ConfigHistory
  readonly #watching = new AbortController()
  readonly #remembering = new ChangeQueue()
  #fromFile: LoadedConfig
  /** What of the source was applied last; null: nothing yet, or there is no source. */
  #document: SourceDocument | null = null
  #following = new AbortController()

  /** Made after the gateway's start: the data directory is locked then. */
  constructor({ gateway, fromFile, origin, document = null }: ConfigDeskOptions) {
    this.#gateway = gateway
    this.#fromFile = fromFile
    this.#document = document
    this.#history = openHistory(fromFile)
    if (origin === "file" || document !== null) atOnce(this.#history.add(this.#entry(gateway.loaded, origin)))
  }

  get versions(): readonly ConfigVersion[] {
    return this.#history.versions
  }

  /** Applies a configuration that came over the admin API. Throws CONFIG_INVALID with every problem. */
  async put(data: unknown): Promise<ConfigVersion> {
    const loaded = await this.#refusing(() => withFileOf(this.#fromFile, data))
    await this.#gateway.reload(loaded)
    return this.#remember(loaded, "put")
  }

  /** Back to the version before. Throws CONFIG_NO_PREVIOUS. */
  async rollback(): Promise<ConfigVersion> {
    await this.#remembered()
    const { previous } = this.#history
    if (previous === null) throw new TidegateError("CONFIG_NO_PREVIOUS", "there is no earlier version")
    const loaded = await withFileOf(this.#fromFile, previous.data)
    await this.#gateway.reload(loaded)
    return this.#remember(loaded, "rollback", previous.version)
  }

  /** Reads the file again and applies it, or the source's document with the file's functions; it wins from then on. */
  async reloadFile(): Promise<void> {
    const document = this.#document
    const fromFile = await this.#refusing(() => loadConfig(this.#fromFile.file ?? undefined))
    const loaded = document === null ? fromFile : await this.#refusing(() => sourced(fromFile, document))
    await this.#gateway.reload(loaded)
    this.#fromFile = fromFile
    await this.#remember(loaded, document === null ? "file" : "source")
  }

  /** Follows the file and the source until `close`; tells each outcome, null for applied. */
  async watch(told: (error: unknown) => void): Promise<void> {
    void this.#followSource(told)
    const { file } = this.#fromFile
    if (file === null) return
    for await (const _ of watchFile(file, this.#watching.signal)) {
      const before = JSON.stringify(this.#fromFile.config.configSource)
      await this.reloadFile().then(
        () => told(null),
        (error: unknown) => told(error),
      )
      if (JSON.stringify(this.#fromFile.config.configSource) === before) continue
      this.#document = null
      void this.#followSource(told)
    }
  }

  /** Follows nothing any more; resolves once every version is remembered, for which the data directory is needed. */
  close(): Promise<void> {
    this.#watching.abort()
    this.#following.abort()
    return this.#remembered()
  }

  async #followSource(told: (error: unknown) => void): Promise<void> {
    this.#following.abort()
    this.#following = new AbortController()
    const source = this.#fromFile.config.configSource
    if (source === null || this.#watching.signal.aborted) return
    await followConfig({
      source,
      signal: this.#following.signal,
      take: (document) =>
        this.#takeDocument(document).then(
          (changed) => {
            if (changed) told(null)
          },
          (error: unknown) => told(error),
        ),
      failed: (fault) =>
        this.#gateway.warn(`the source ${source.kind} of the configuration failed, what is in force stays: ${fault}`),
    })
  }

  /** False: what is in force was made from this document, or was put while it stood. */
  async #takeDocument(document: SourceDocument): Promise<boolean> {
    await this.#remembered()
    const { latest } = this.#history
    const isKnown = latest !== null && latest.origin !== "file" && latest.fileHash === document.hash
    if (isKnown && this.#document === null) this.#document = document
    if (this.#document?.hash === document.hash) return false
    const loaded = await this.#refusing(() => sourced(this.#fromFile, document))
    await this.#gateway.reload(loaded)
    this.#document = document
    await this.#remember(loaded, "source")
    return true
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

  /** A version is in force before it is remembered: what looks at the history waits for that. */
  #remembered(): Promise<void> {
    return this.#remembering.run(async () => {})
  }

  /** In the order in which they were applied. */
  async #remember(loaded: LoadedConfig, origin: ConfigOrigin, restores?: number): Promise<ConfigVersion> {
    const entry = this.#entry(loaded, origin)
    return new Promise((resolve, reject) => {
      const add = async (): Promise<void> =>
        resolve(await inTurns(this.#history.add(restores === undefined ? entry : { ...entry, restores })))
      this.#remembering.run(add).catch(reject)
    })
  }

  #entry({ data }: LoadedConfig, origin: ConfigOrigin): Omit<ConfigVersion, "version"> {
    const hash = this.#document?.hash ?? fileHash(this.#fromFile.file)
    return { at: new Date().toISOString(), origin, fileHash: hash, data }
  }
}

async function sourced(fromFile: LoadedConfig, document: SourceDocument): Promise<LoadedConfig> {
  return withFileOf(fromFile, await parseSource(document, fromFile.config.configSource?.kind ?? "the source"))
}

/** Data under the file's roof: its folder, its functions, its place in messages. */
async function withFileOf(fromFile: LoadedConfig, data: unknown): Promise<LoadedConfig> {
  const functions: Functions = fromFile.functions
  const folder = fromFile.file === null ? process.cwd() : join(fromFile.file, "..")
  const loaded = await loadDataInTurns(data, { folder, functions, local: fromFile.data })
  // Where the process keeps its data, is administered and gets its configuration, is its file's to say.
  const { dataDir, admin, configSource } = fromFile.config
  return { ...loaded, file: fromFile.file, config: { ...loaded.config, dataDir, admin, configSource } }
}

function openHistory({ config }: LoadedConfig): ConfigHistory {
  return new ConfigHistory(config.dataDir === null ? null : join(config.dataDir, "config"))
}
