/** `services`: lists of instances, and where others are found. */
import { resolve } from "node:path"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import { normalizeService } from "./normalize-upstream.ts"
import type { NormalizedConfig, NormalizedSource } from "./normalized.ts"
import type { ConfigData, SecretData, SourceData } from "./schema/index.ts"
import { SOURCE_KINDS } from "./schema/source.ts"

type Services = NonNullable<ConfigData["services"]>

export function normalizeServices(services: Services): NormalizedConfig["services"] {
  const lists = Object.entries(services).flatMap(([name, given]) => (isList(given) ? [[name, given] as const] : []))
  return Object.fromEntries(lists.map(([name, list]) => [name, list.map(normalizeService)]))
}

export function normalizeSources(services: Services, context: NormalizeContext): NormalizedConfig["sources"] {
  const sources = Object.entries(services).flatMap(([name, given]) => (isList(given) ? [] : [[name, given] as const]))
  return Object.fromEntries(sources.map(([name, source]) => [name, normalizeSource(name, source, context)]))
}

function normalizeSource(name: string, source: SourceData, context: NormalizeContext): NormalizedSource {
  const kind = SOURCE_KINDS.find((known) => source[known] !== undefined) ?? "file"
  const { consul, etcd, kubernetes, resolver = null, intervalMs = 10_000 } = source
  const server = consul ?? etcd ?? kubernetes
  const tokenOf = (given: SecretData | undefined): string | null =>
    given === undefined ? null : readSecret(given, ["services", name, kind, "token"], context)
  return {
    kind,
    target: targetOf(kind, source, context.folder),
    url: (server?.url ?? "").replace(/\/+$/, ""),
    token: tokenOf(consul?.token ?? kubernetes?.token),
    resolver,
    tag: consul?.tag ?? null,
    namespace: kubernetes?.namespace ?? null,
    port: kubernetes?.port ?? null,
    intervalMs,
  }
}

function targetOf(kind: NormalizedSource["kind"], source: SourceData, folder: string): string {
  switch (kind) {
    case "file":
      return resolve(folder, source.file ?? "")
    case "consul":
      return source.consul?.service ?? ""
    case "etcd":
      return source.etcd?.prefix ?? ""
    case "kubernetes":
      return source.kubernetes?.service ?? ""
    default:
      return source[kind] ?? ""
  }
}

function isList<T>(given: readonly T[] | SourceData): given is readonly T[] {
  return Array.isArray(given)
}
