/** tidegate passwd: the argon2id hash of a password, for `auth.users`. */
import { createInterface } from "node:readline/promises"
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { loadNative } from "../native/index.ts"
import { example } from "./options.ts"
import { print, printJson } from "./output.ts"

interface Options {
  readonly json?: boolean
}

export function addPasswd(program: Command): void {
  const command = program
    .command("passwd")
    .description("hash a password for auth.users; it is read from standard input, never from the command line")
    .argument("[user]", "print a whole line of auth.users for this name")
    .option("--json", "print JSON")
    .action(passwd)
  example(command, "tidegate passwd alice", "printf secret | tidegate passwd")
}

async function passwd(user: string | undefined, { json }: Options): Promise<void> {
  const password = await readPassword()
  if (password === "") throw new TidegateError("USAGE", "the password is empty")
  const hash = await loadNative().hashPassword(password)
  if (json) printJson(user === undefined ? { hash } : { user, hash })
  else print(user === undefined ? hash : `${user}: "${hash}"`)
}

/** The first line; on a terminal it is asked for and not shown. */
async function readPassword(): Promise<string> {
  if (!process.stdin.isTTY) {
    for await (const line of createInterface({ input: process.stdin })) return line
    return ""
  }
  process.stderr.write("Password: ")
  const input = createInterface({ input: process.stdin, terminal: true })
  const line = await input.question("")
  input.close()
  return line
}
