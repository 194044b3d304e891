/** tidegate explain: why a request or a topic goes where it goes. */
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson } from "./output.ts"
import { formatTable } from "./table.ts"

interface Explanation {
  readonly route: string | null
  readonly target: unknown
  readonly endpoint: string | null
  readonly score: number | null
  readonly endpoints: readonly { readonly endpoint: string; readonly score: number; readonly active: number }[]
  readonly candidates: readonly { readonly route: string; readonly matched: boolean; readonly reason: string | null }[]
  readonly policies: readonly { readonly name: string; readonly verdict: string | null }[]
}

interface Options extends AdminOptions {
  readonly json?: boolean
  readonly header?: readonly string[]
  readonly source?: string
}

export function addExplain(program: Command): void {
  const command = program
    .command("explain")
    .description("say which route a request or topic takes and why")
    .argument("<words...>", "METHOD URL, or a topic")
    .option("-H, --header <line...>", "a header of the request, Name: value")
    .option("--source <address>", "the client's address (default: 127.0.0.1)")
    .action(explain)
  example(withAdmin(command), "tidegate explain GET http://localhost/api/users", "tidegate explain plant/1/temp")
}

async function explain(words: readonly string[], options: Options): Promise<void> {
  const query = new URLSearchParams(toQuery(words))
  const client = await AdminClient.open(options)
  for (const line of options.header ?? []) query.append("header", line)
  if (options.source !== undefined) query.set("source", options.source)
  const answer = (await client.call(`/v1/explain?${query}`)) as Explanation
  if (options.json) return printJson(answer)
  print(`route     ${answer.route ?? "none"}`)
  print(`target    ${typeof answer.target === "string" ? answer.target : JSON.stringify(answer.target)}`)
  print(`endpoint  ${answer.endpoint ?? "-"}`)
  if (answer.endpoints.length > 1)
    print(
      `\n${formatTable(
        ["ENDPOINT", "SCORE", "ACTIVE"],
        answer.endpoints.map(({ endpoint, score, active }) => [endpoint, score.toPrecision(3), String(active)]),
      )}`,
    )
  if (answer.policies.length > 0)
    print(
      `\n${formatTable(
        ["POLICY", "VERDICT"],
        answer.policies.map(({ name, verdict }) => [name, verdict]),
      )}`,
    )
  const rows = answer.candidates.map(({ route, matched, reason }) => [route, matched ? "yes" : "no", reason])
  if (rows.length > 0) print(`\n${formatTable(["CANDIDATE", "MATCHED", "REASON"], rows)}`)
}

/** A method and a URL, in one word or two, or a URL alone are a request; else it is a topic. */
function toQuery(words: readonly string[]): Record<string, string> {
  const [first = "", second, ...more] = words.flatMap((word) => /^([A-Z]+) +(\S+)$/.exec(word)?.slice(1) ?? word)
  if (more.length > 0)
    throw new TidegateError("USAGE", "say METHOD URL, or a topic, and no more", {
      hint: "what has spaces needs quotes: tidegate explain 'plant 1/temp'",
    })
  if (second !== undefined) return { method: first, url: second }
  return /^(https?:\/\/|\/)/.test(first) ? { method: "GET", url: first } : { topic: first }
}
