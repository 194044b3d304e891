/** tidegate passwd: what `auth.users` keeps of a password: its argon2id hash, or a SCRAM verifier. */
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto"
import { promisify } from "node:util"
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { loadNative } from "../native/index.ts"
import { readHidden } from "./hidden.ts"
import { example } from "./options.ts"
import { print, printJson } from "./output.ts"

interface Options {
  readonly json?: boolean
  readonly scram?: boolean
}

export function addPasswd(program: Command): void {
  const command = program
    .command("passwd")
    .description("hash a password for auth.users; it is read from standard input, never from the command line")
    .argument("[user]", "print a whole line of auth.users for this name")
    .option("--scram", "a verifier for SCRAM-SHA-256, the enhanced authentication of MQTT 5")
    .option("--json", "print JSON")
    .action(passwd)
  example(command, "tidegate passwd alice", "printf secret | tidegate passwd")
}

async function passwd(user: string | undefined, { json, scram }: Options): Promise<void> {
  const password = await readHidden("Password: ")
  if (password === "") throw new TidegateError("USAGE", "the password is empty")
  const hash = await (scram ? scramVerifier(password) : loadNative().hashPassword(password))
  if (json) printJson(user === undefined ? { hash } : { user, hash })
  else print(user === undefined ? hash : `${user}: "${hash}"`)
}

/** RFC 5802 section 3, in the form that PostgreSQL uses too. */
async function scramVerifier(password: string, iterations = 4_096): Promise<string> {
  const salt = randomBytes(16)
  const salted = await promisify(pbkdf2)(password.normalize("NFKC"), salt, iterations, 32, "sha256")
  const key = (name: string) => createHmac("sha256", salted).update(name).digest()
  const stored = createHash("sha256").update(key("Client Key")).digest("base64")
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${key("Server Key").toString("base64")}`
}
