/** `bridges` with their defaults. */
import { resolve } from "node:path"
import type { Bridge, BridgeLogin, BridgeTls, BridgeTopics } from "../model/bridge.ts"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import type { Path } from "./path.ts"
import type { ConfigData, SecretData } from "./schema/index.ts"

type BridgesData = NonNullable<ConfigData["bridges"]>
type BridgeData = Extract<BridgesData, readonly unknown[]>[number]
type TopicsData = NonNullable<BridgeData["out"]>[number]

export function normalizeBridges(data: ConfigData["bridges"], context: NormalizeContext): readonly Bridge[] {
  const names = new Set<string>()
  const named = Array.isArray(data) ? data : Object.entries(data ?? {}).map(([name, rest]) => ({ name, ...rest }))
  return named.map((bridge: BridgeData, index) => {
    const path: Path = ["bridges", Array.isArray(data) ? index : bridge.name]
    if (names.has(bridge.name)) context.report([...path, "name"], `there are two bridges "${bridge.name}"`)
    names.add(bridge.name)
    return {
      name: bridge.name,
      to: bridge.to,
      clientId: bridge.clientId ?? bridge.name,
      tls: toTls(bridge.tls, context.folder),
      remote: toLogin(bridge, path, context),
      local: toLogin(bridge.local ?? {}, [...path, "local"], context),
      out: (bridge.out ?? []).map(toTopics),
      in: (bridge.in ?? []).map(toTopics),
    }
  })
}

function toTls(tls: BridgeData["tls"], folder: string): BridgeTls {
  const file = (name: string | undefined): string | null => (name === undefined ? null : resolve(folder, name))
  return { ca: file(tls?.ca), cert: file(tls?.cert), key: file(tls?.key), serverName: tls?.serverName ?? null }
}

function toLogin(
  { username, password }: { readonly username?: string; readonly password?: SecretData },
  path: Path,
  context: NormalizeContext,
): BridgeLogin {
  return {
    username: username ?? null,
    password: password === undefined ? null : readSecret(password, [...path, "password"], context),
  }
}

function toTopics({ topic, qos = 1, localPrefix = "", remotePrefix = "" }: TopicsData): BridgeTopics {
  return { topic, qos: qos as BridgeTopics["qos"], localPrefix, remotePrefix }
}
