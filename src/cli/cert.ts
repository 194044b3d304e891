/** tidegate cert dev: has its place; certificates come with TLS. */
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { example } from "./options.ts"

export function addCert(program: Command): void {
  const cert = program.command("cert").description("certificates for development")
  example(cert.command("dev").description("make a development certificate"), "tidegate cert dev").action(() => {
    throw new TidegateError(
      "NOT_AVAILABLE",
      "tidegate cert dev is not available in this version; TLS comes with a later one",
    )
  })
}
