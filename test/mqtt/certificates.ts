/** Certificates for a test: an authority, a server of localhost and 127.0.0.1, a client by its name. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ExecutionContext } from "ava"
import { loadNative } from "../../src/native/index.ts"

export interface Certificates {
  readonly ca: string
  /** Files of a certificate for these names. */
  issue(...names: string[]): Promise<{ readonly cert: string; readonly key: string }>
}

/** Gone when the test ends. */
export async function certificates(t: ExecutionContext<unknown>): Promise<Certificates> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-certificates-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const native = loadNative()
  const authority = JSON.parse(await native.createDevAuthority("test authority")) as { cert: string; key: string }
  const put = (name: string, text: string): string => {
    const file = join(folder, name)
    writeFileSync(file, text)
    return file
  }
  return {
    ca: put("ca.pem", authority.cert),
    async issue(...names) {
      const text = await native.createDevCertificate(authority.cert, authority.key, names)
      const { cert, key } = JSON.parse(text) as { cert: string; key: string }
      return { cert: put(`${names[0]}.pem`, cert), key: put(`${names[0]}.key`, key) }
    },
  }
}
