/**
 * What a source of configurations is: an async iterator of documents, YAML or JSON, that ends
 * with its signal and throws when it cannot go on. Null: there is no document there (yet).
 * Whoever follows it keeps what is in force and begins anew.
 */
import type { NormalizedConfigSource } from "../normalized.ts"

export interface ConfigSourceOptions {
  readonly source: NormalizedConfigSource
  readonly signal: AbortSignal
}

export type ConfigSource = (options: ConfigSourceOptions) => AsyncIterable<string | null>
