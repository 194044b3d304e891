/** tidegate optimizer: upstreams with goals, and changes to apply or undo. */
import type { Command } from "commander"
import type { OptimizerChange, OptimizerReport, OptimizerRow } from "../model/optimizer.ts"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson } from "./output.ts"
import { formatTable } from "./table.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
}

export function addOptimizer(program: Command): void {
  const optimizer = program.command("optimizer").description("what the optimizer sees, proposes and has changed")
  example(optimizer, "tidegate optimizer", "tidegate optimizer apply 3")
  const listing = withAdmin(
    optimizer.command("list", { isDefault: true }).description("upstreams with goals, and the changes"),
  )
  example(listing, "tidegate optimizer").action(list)
  for (const [name, what] of [
    ["apply", "apply a proposal"],
    ["undo", "take the last change of an upstream back"],
  ] as const) {
    const changing = withAdmin(optimizer.command(name).description(what).argument("<id>", "of the change"))
    example(changing, `tidegate optimizer ${name} 3`).action((id: string, options: Options) =>
      change(name, id, options),
    )
  }
}

async function list(options: Options): Promise<void> {
  const client = await AdminClient.open(options)
  const report = (await client.call("/v1/optimizer")) as OptimizerReport
  if (options.json) return printJson(report)
  if (report.upstreams.length === 0) return print('no upstream has "goals"')
  const headings = ["UPSTREAM", "LIMIT", "OF", "REQUESTS", "ERRORS", "P99", "IN FLIGHT", "TURNED AWAY"]
  print(formatTable(headings, report.upstreams.map(cellsOf)))
  print("")
  for (const { upstream, verdict } of report.upstreams) print(`${upstream}: ${verdict}`)
  if (report.changes.length === 0) return
  const rows = report.changes.map(({ id, at, upstream, from, to, state, reason }) => {
    return [id, new Date(at).toISOString(), upstream, `${from} -> ${to}`, state, reason]
  })
  print(`\n${formatTable(["CHANGE", "AT", "UPSTREAM", "LIMIT", "STATE", "REASON"], rows)}`)
}

function cellsOf({ upstream, maxRequests: { now, min, max }, seen }: OptimizerRow): (string | number)[] {
  if (seen === null) return [upstream, now, `${min}..${max}`, "-", "-", "-", "-", "-"]
  const { requests, errorRate, p99Ms, inFlight, turnedAway } = seen
  const errors = `${(errorRate * 100).toFixed(1)} %`
  const p99 = p99Ms === null ? "-" : `${p99Ms.toFixed(1)} ms`
  return [upstream, now, `${min}..${max}`, requests, errors, p99, inFlight.toFixed(1), turnedAway]
}

async function change(what: "apply" | "undo", id: string, options: Options): Promise<void> {
  const client = await AdminClient.open(options)
  const path = `/v1/optimizer/changes/${encodeURIComponent(id)}/${what}`
  const changed = (await client.call(path, { method: "POST" })) as OptimizerChange
  if (options.json) return printJson(changed)
  const { upstream, from, to, state } = changed
  print(`${state}: maxRequests of ${upstream} is ${state === "undone" ? from : to}`)
}
