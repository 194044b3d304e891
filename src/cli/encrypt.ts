/** tidegate encrypt: a secret as it may stand in a configuration that others read. */
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { readHidden } from "./hidden.ts"
import { example } from "./options.ts"
import { print, printJson } from "./output.ts"

interface Options {
  readonly json?: boolean
  readonly newKey?: boolean
}

export function addEncrypt(program: Command): void {
  const command = program
    .command("encrypt")
    .description("encrypt a secret of the configuration under TIDEGATE_SECRET_KEY; it is read from standard input")
    .option("--new-key", "make a key instead")
    .option("--json", "print JSON")
    .action(run)
  example(command, "export TIDEGATE_SECRET_KEY=$(tidegate encrypt --new-key)", "printf secret | tidegate encrypt")
}

async function run({ json, newKey }: Options): Promise<void> {
  const { encrypt, newSecretKey, secretKey } = await import("../config/index.ts")
  if (newKey) {
    const key = newSecretKey()
    return json ? printJson({ key }) : print(key)
  }
  const held = secretKey()
  if ("fault" in held) {
    const why = held.fault.replace(/^is encrypted, and /, "")
    const hint = "make one with: export TIDEGATE_SECRET_KEY=$(tidegate encrypt --new-key)"
    throw new TidegateError("USAGE", `there is no key to encrypt with: ${why}`, { hint })
  }
  const secret = await readHidden("Secret: ")
  if (secret === "") throw new TidegateError("USAGE", "the secret is empty")
  const encrypted = encrypt(secret, held.key)
  if (json) printJson({ encrypted })
  else print(`{ encrypted: "${encrypted}" }`)
}
