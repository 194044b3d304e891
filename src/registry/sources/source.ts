/**
 * What a source of instances is: an async iterator of snapshots that ends with its signal
 * and throws when it cannot go on. Whoever follows it keeps the last snapshot and begins anew.
 */
import type { NormalizedSource } from "../../config/index.ts"
import type { RegistryInstance } from "../../policy/index.ts"

export interface SourceOptions {
  /** The service's name here. */
  readonly service: string
  readonly source: NormalizedSource
  readonly signal: AbortSignal
}

export type Source = (options: SourceOptions) => AsyncIterable<readonly unknown[]>

/** Most instances of one service. */
const MAX_INSTANCES = 10_000

/** The entries that are instances, and how many are not. */
export function toInstances(entries: readonly unknown[]): { instances: readonly RegistryInstance[]; bad: number } {
  const instances = entries.flatMap((entry) => toInstance(entry) ?? []).slice(0, MAX_INSTANCES)
  return { instances, bad: entries.length - instances.length }
}

function toInstance(entry: unknown): RegistryInstance | null {
  if (typeof entry === "string") return fromText(entry)
  if (entry === null || typeof entry !== "object") return null
  const { id, host, port, weight, zone, version, metadata } = entry as Record<string, unknown>
  if (!isName(host) || !isWhole(port, 1, 65_535) || !isWhole(weight ?? 1, 0, 1_000)) return null
  return {
    host,
    port,
    ...(isName(id) && { id }),
    ...(weight !== undefined && { weight: weight as number }),
    ...(isName(zone) && { zone }),
    ...(isName(version) && { version }),
    ...(isTexts(metadata) && { metadata }),
  }
}

/** `host:port`, `[::1]:80`. */
function fromText(text: string): RegistryInstance | null {
  const [, bracketed, plain, port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text) ?? []
  return toInstance({ host: bracketed ?? plain, port: Number(port) })
}

function isName(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9._:%-]{1,255}$/.test(value)
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
}

function isTexts(value: unknown): value is Record<string, string> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return false
  return Object.values(value).every((text) => typeof text === "string")
}
