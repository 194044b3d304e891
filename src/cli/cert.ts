/** tidegate cert dev: an authority of one's own and a certificate it signs, for development. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { makeFolder } from "../make-folder.ts"
import { loadNative } from "../native/index.ts"
import { example } from "./options.ts"
import { print, printJson } from "./output.ts"

interface Options {
  readonly dir: string
  readonly client?: string
  readonly json?: boolean
}

interface Pair {
  readonly cert: string
  readonly key: string
}

const LOCAL = ["localhost", "*.localhost", "127.0.0.1", "::1"]

export function addCert(program: Command): void {
  const cert = program.command("cert").description("certificates for development")
  example(cert, "tidegate cert dev")
  const dev = cert
    .command("dev")
    .description("make a certificate of a local authority, which is made too where there is none")
    .argument("[names...]", `what it covers; default ${LOCAL.join(" ")}`)
    .option("--dir <dir>", "where the files go", "certs")
    .option("--client <name>", "a client's certificate of that name instead")
    .option("--json", "print JSON")
    .action(dev_)
  example(dev, "tidegate cert dev", "tidegate cert dev gateway.test", "tidegate cert dev --client device-1")
}

async function dev_(names: readonly string[], { dir, client, json }: Options): Promise<void> {
  const odd = [client ?? [], names].flat().find((name) => !/^[\w.*:@-]+$/.test(name))
  if (odd !== undefined)
    throw new TidegateError("USAGE", `"${odd}" is no name for a certificate: letters, digits and . - _ * : @ only`)
  const folder = resolve(dir)
  makeFolder(folder, 0o700)
  const native = loadNative()
  const ca = { cert: join(folder, "dev-ca.pem"), key: join(folder, "dev-ca.key") }
  if (!existsSync(ca.cert) || !existsSync(ca.key)) write(ca, await native.createDevAuthority("Tidegate development"))
  const authority = [readFileSync(ca.cert, "utf8"), readFileSync(ca.key, "utf8")] as const
  const covered = client !== undefined ? [client, ...names] : names.length > 0 ? [...names] : LOCAL
  const name = client ?? "dev"
  const pair = { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  write(pair, await native.createDevCertificate(...authority, covered))
  if (json) return printJson({ ca: ca.cert, ...pair, names: covered })
  print(`${pair.cert} covers ${covered.join(", ")}; its key is ${pair.key}`)
  if (client !== undefined) return print(`clients are asked for it by: tls.clientAuth: { ca: ${ca.cert} }`)
  print(`in the configuration: tls: { cert: ${pair.cert}, key: ${pair.key} }`)
  print(`clients trust it by ${ca.cert}, for example: curl --cacert ${ca.cert} https://${covered[0]}:7000/`)
}

function write({ cert, key }: Pair, made: string): void {
  const pair = JSON.parse(made) as Pair
  writeFileSync(cert, pair.cert)
  writeFileSync(key, pair.key, { mode: 0o600 })
}
