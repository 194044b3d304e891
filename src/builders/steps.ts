/** Compiled steps of a route, as in YAML. Options: src/config/schema/steps.ts. */
import type {
  ApiKeyOptions,
  BasicAuthOptions,
  BodyLimitOptions,
  CacheOptions,
  CompressOptions,
  CorsOptions,
} from "../config/index.ts"

export const cors = (options: CorsOptions = {}) => ({ cors: options })

export const apiKey = (options: ApiKeyOptions) => ({ apiKey: options })

export const basicAuth = (options: BasicAuthOptions = {}) => ({ basicAuth: options })

export const compress = (options: CompressOptions = {}) => ({ compress: options })

/** Answers of the route's upstream are kept for their time (RFC 9111). */
export const cache = (options: CacheOptions = {}) => ({ cache: options })

export const bodyLimit = (options: BodyLimitOptions | number) => ({
  bodyLimit: typeof options === "number" ? { bytes: options } : options,
})
