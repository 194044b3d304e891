/** `oscore` over all listeners: what makes replays possible is refused. */
import type { Report } from "./check.ts"
import type { ConfigData } from "./schema/index.ts"

export function checkOscore({ listeners = [], dataDir }: ConfigData, report: Report): void {
  const known = new Map<string, number>()
  for (const [index, { oscore = [] }] of listeners.entries()) {
    const at = ["listeners", index, "oscore"] as const
    if (oscore.length > 0 && dataDir === false)
      report(at, 'needs a data directory: its numbers have to outlive the process; leave out "dataDir: false"')
    for (const [place, { masterSecret, masterSalt = "", recipientId, idContext = "" }] of oscore.entries()) {
      const key = JSON.stringify([masterSecret, masterSalt, recipientId.toLowerCase(), idContext.toLowerCase()])
      const first = known.get(key)
      // Each listener knows only the numbers that it has seen itself.
      if (first !== undefined && first !== index)
        report([...at, place], `stands at listeners[${first}], too: a message of one could be sent again to the other`)
      known.set(key, first ?? index)
    }
  }
}
