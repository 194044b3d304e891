/** What a schema cannot say of `alerts`. */
import type { Report } from "./check.ts"
import type { ConfigData } from "./schema/index.ts"

export function checkAlerts({ alerts = [] }: ConfigData, report: Report): void {
  const names = new Map<string, number>()
  for (const [index, { name, per, quantile, above, below, do: actions }] of alerts.entries()) {
    const at = ["alerts", index]
    const first = names.get(name)
    if (first !== undefined) report([...at, "name"], `"${name}" is already the name of alerts[${first}]`)
    names.set(name, index)
    if ((above === undefined) === (below === undefined)) report(at, 'say either "above" or "below"')
    if (per !== undefined && quantile !== undefined) report(at, 'say either "per" or "quantile"')
    for (const [place, action] of actions.entries()) {
      if (Object.keys(action).length !== 1)
        report([...at, "do", place], "say exactly one of log, webhook, topic, command")
      if (action.topic !== undefined && /[+#]/.test(action.topic))
        report([...at, "do", place, "topic"], "a topic to publish to has no + and no #")
    }
  }
}
