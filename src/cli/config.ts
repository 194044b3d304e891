/** tidegate config: the configuration as given or resolved; history, diff and rollback of a running gateway. */
import type { Command } from "commander"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { diffLines } from "./diff.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson } from "./output.ts"
import { formatTable } from "./table.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
  readonly resolved?: boolean
}

interface Version {
  readonly version: number
  readonly at: string
  readonly origin: string
  readonly data?: unknown
}

export function addConfig(program: Command): void {
  const command = program
    .command("config")
    .description("print the configuration; secrets are hidden")
    .option("--resolved", "with every default filled in")
  example(withAdmin(command), "tidegate config --resolved", "tidegate config history", "tidegate config rollback")
  command.action(async (options: Options) => {
    const { loadConfig, redact } = await import("../config/index.ts")
    const { config, data } = await loadConfig(options.config)
    printJson(redact(options.resolved ? config : data))
  })
  addVersions(command)
}

function addVersions(command: Command): void {
  const add = (
    name: string,
    description: string,
    action: (client: AdminClient, options: Options) => Promise<void>,
  ): void => {
    const child = withAdmin(command.command(name).description(description))
    example(child, `tidegate config ${name}`)
    child.action(async (_: Options, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      await action(await AdminClient.open(options), options)
    })
  }
  add("history", "versions that were in force, newest first", history)
  add("diff", "what the version in force changed", diff)
  add("rollback", "go back to the version before", async (client, { json }) => {
    const { version, origin } = (await client.call("/v1/config/rollback", { method: "POST" })) as Version
    if (json) printJson({ version, origin })
    else print(`version ${version} (${origin}) is in force`)
  })
}

async function history(client: AdminClient, { json }: Options): Promise<void> {
  const { items } = (await client.call("/v1/config/versions")) as { items: readonly Version[] }
  if (json) printJson({ items })
  else
    print(
      formatTable(
        ["VERSION", "AT", "ORIGIN"],
        items.map(({ version, at, origin }) => [version, at, origin]),
      ),
    )
}

async function diff(client: AdminClient, { json }: Options): Promise<void> {
  const { items } = (await client.call("/v1/config/versions?data=true")) as { items: readonly Version[] }
  const [now, before] = items
  if (json) return printJson({ before: before ?? null, now: now ?? null })
  const lines = (version: Version | undefined): string[] => JSON.stringify(version?.data ?? {}, null, 2).split("\n")
  const changed = diffLines(lines(before), lines(now))
  print(changed.length === 0 ? "no difference" : changed.join("\n"))
}
