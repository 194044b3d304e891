/** Which methods an address of the admin API takes, for 405 with `Allow` (RFC 9110 section 15.5.6). */
import type { FastifyInstance } from "fastify"

/** Learns the routes that are added from now on. */
export function createMethods(app: FastifyInstance): (url: string) => readonly string[] {
  const known = new Map<string, { readonly matches: RegExp; readonly methods: Set<string> }>()
  app.addHook("onRoute", ({ url, method }) => {
    const pattern = url.replace(/[.]/g, "\\$&").replace(/:[a-z]+/gi, "[^/]+")
    const entry = known.get(url) ?? { matches: new RegExp(`^${pattern}$`), methods: new Set() }
    for (const name of [method].flat()) entry.methods.add(name)
    known.set(url, entry)
  })
  return (url) => {
    const [path = ""] = url.split("?")
    const found = [...known.values()].find(({ matches }) => matches.test(path))
    return [...(found?.methods ?? [])].sort()
  }
}
