/** Configuration: declared, read, checked, normalized, watched and remembered. */
export { formatHostPort, type HostPort, isLoopback, parseHostPort } from "./address.ts"
export type { ConfigInput, RouteInput, UpstreamInput } from "./config-input.ts"
export { DataDir } from "./data-dir.ts"
export { encrypt, newSecretKey, secretKey } from "./encrypted.ts"
export { fileHash, watchFile } from "./file-source.ts"
export { ConfigHistory, type ConfigOrigin, type ConfigVersion } from "./history.ts"
export {
  type DataContext,
  type LoadedConfig,
  loadConfig,
  loadData,
  loadDataInTurns,
  loadLastGood,
  toLoaded,
} from "./load.ts"
export { nearest } from "./nearest.ts"
export type * from "./normalized.ts"
export type * from "./normalized-optimizer.ts"
export type * from "./normalized-sharing.ts"
export type * from "./normalized-tracing.ts"
export { CONFIG_NAMES, findConfig } from "./read.ts"
export { firstDocument, followConfig, parseSource, type SourceDocument } from "./remote-source.ts"
export { type ConfigData, ConfigSchema } from "./schema/index.ts"
export type {
  ApiKeyOptions,
  BasicAuthOptions,
  BodyLimitOptions,
  CacheOptions,
  CompressOptions,
  CorsOptions,
} from "./schema/steps.ts"
export { HIDDEN, redact } from "./secrets.ts"
export { stableJson } from "./stable.ts"
