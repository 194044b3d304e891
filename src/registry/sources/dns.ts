/** dns and srv: addresses of a name with one port, or the targets of SRV records; looked at again when their time is up. */
import { Resolver } from "node:dns/promises"
import { pause } from "../../remote/index.ts"
import type { Source } from "./source.ts"

/** Records that say less are kept for that long all the same. */
const LEAST_MS = 1_000

interface Found {
  readonly instances: readonly { readonly host: string; readonly port: number; readonly weight?: number }[]
  /** Seconds. */
  readonly ttl: number
}

export const dnsSource: Source = ({ source, signal }) =>
  look(source.intervalMs, signal, source.resolver, async (resolver) => {
    const [, name = "", port = "0"] = /^(.*):(\d+)$/.exec(source.target) ?? []
    const found = await addresses(resolver, name)
    return { instances: found.map(({ address }) => ({ host: address, port: Number(port) })), ttl: least(found) }
  })

/** Only the targets of the best priority; a weight of 0 counts as 1, as most clients take it. */
export const srvSource: Source = ({ source, signal }) =>
  look(source.intervalMs, signal, source.resolver, async (resolver) => {
    const records = await resolver.resolveSrv(source.target)
    const best = Math.min(...records.map(({ priority }) => priority))
    const chosen = records.filter(({ priority }) => priority === best)
    const found = await Promise.all(
      chosen.map(async ({ name, port, weight }) => {
        const hosts = await addresses(resolver, name)
        return {
          ttl: least(hosts),
          instances: hosts.map(({ address }) => ({ host: address, port, weight: Math.min(1_000, weight || 1) })),
        }
      }),
    )
    return { instances: found.flatMap(({ instances }) => instances), ttl: Math.min(...found.map(({ ttl }) => ttl)) }
  })

async function* look(
  intervalMs: number,
  signal: AbortSignal,
  server: string | null,
  ask: (resolver: Resolver) => Promise<Found>,
): AsyncGenerator<Found["instances"]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  if (server !== null) resolver.setServers([server])
  signal.addEventListener("abort", () => resolver.cancel(), { once: true })
  while (!signal.aborted) {
    const { instances, ttl } = await ask(resolver)
    yield instances
    await pause(Math.min(intervalMs, Math.max(LEAST_MS, ttl * 1_000)), signal)
  }
}

async function addresses(resolver: Resolver, name: string): Promise<readonly { address: string; ttl: number }[]> {
  const [four, six] = await Promise.allSettled([
    resolver.resolve4(name, { ttl: true }),
    resolver.resolve6(name, { ttl: true }),
  ])
  const found = [four, six].flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []))
  if (found.length === 0 && four.status === "rejected") throw four.reason
  return found.toSorted((a, b) => a.address.localeCompare(b.address))
}

function least(records: readonly { readonly ttl: number }[]): number {
  return Math.min(...records.map(({ ttl }) => ttl))
}
