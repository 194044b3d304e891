/** The files that a configuration's TLS comes from: when they change they are read again, and told of before they end. */
import { X509Certificate } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import type { NormalizedConfig } from "../config/index.ts"

/** Every file of certificates, keys, trust and revocations, once. */
export function tlsFiles({ listeners, upstreams }: NormalizedConfig): string[] {
  const server = listeners.flatMap(({ tls, dtls }) => {
    const pairs = [...(tls?.certificates ?? []), ...(dtls?.certificate ? [dtls.certificate] : [])]
    const trusted = [tls?.clientAuth, dtls?.clientAuth].flatMap((auth) => (auth ? [...auth.ca, ...auth.crl] : []))
    return [...pairs.flatMap(({ cert, key }) => [cert, key]), ...trusted]
  })
  const client = upstreams.flatMap(({ tls }) =>
    tls === null ? [] : [...tls.ca, ...(tls.certificate === null ? [] : [tls.certificate.cert, tls.certificate.key])],
  )
  return [...new Set([...server, ...client])]
}

/** What tells a file from its successor, without reading it. */
export async function stampOf(files: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => {
      const found = await stat(file).catch(() => null)
      return found === null ? "gone" : `${found.ino} ${found.size} ${found.mtimeMs}`
    }),
  )
  return stamps.join("\n")
}

/** Looks at the files of the configuration in force, and calls where they have changed. */
export class TlsFiles {
  readonly #changed: () => void
  readonly #warn: (text: string) => void
  readonly #timer: NodeJS.Timeout
  #files: readonly string[] = []
  #stamp = ""

  constructor(changed: () => void, warn: (text: string) => void) {
    this.#changed = changed
    this.#warn = warn
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref()
  }

  async use(config: NormalizedConfig): Promise<void> {
    this.#files = tlsFiles(config)
    this.#stamp = await stampOf(this.#files)
    await warnOfExpiry(config, this.#warn)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    const stamp = await stampOf(this.#files)
    if (stamp === this.#stamp) return
    this.#stamp = stamp
    this.#changed()
  }
}

const LOOK_MS = 2_000
const DAY_MS = 86_400_000
const WARN_DAYS = 30

/** Tells of each of the listeners' certificates that ends soon or has ended. */
async function warnOfExpiry({ listeners }: NormalizedConfig, warn: (text: string) => void): Promise<void> {
  const files = listeners.flatMap(({ tls }) => tls?.certificates.map(({ cert }) => cert) ?? [])
  for (const file of new Set(files)) {
    const pem = await readFile(file).catch(() => null)
    if (pem === null) continue
    const days = Math.floor((Date.parse(new X509Certificate(pem).validTo) - Date.now()) / DAY_MS)
    if (days < 0) warn(`the certificate in ${file} has ended`)
    else if (days < WARN_DAYS) warn(`the certificate in ${file} ends in ${days} days`)
  }
}
