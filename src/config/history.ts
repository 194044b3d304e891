/**
 * Versions of the configuration that were in force, newest last, one file each in the
 * data directory; the newest is the last good one. Secrets stand in them as they were
 * given, which is why the directory is private.
 */
import { createHash } from "node:crypto"
import { closeSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { makeFolder } from "../make-folder.ts"
import { jsonTurns, type Turns } from "../turns.ts"
import type { ConfigData } from "./schema/index.ts"

export type ConfigOrigin = "file" | "source" | "put" | "rollback" | "program"

/** One version. */
export interface ConfigVersion {
  readonly version: number
  /** RFC 3339. */
  readonly at: string
  readonly origin: ConfigOrigin
  /** Hash of the file, or of the document of the source, at that time; what was put wins while it stays. */
  readonly fileHash: string
  readonly data: ConfigData
  /** The version a rollback went back to. */
  readonly restores?: number
}

/** Older ones are forgotten. */
const KEPT = 50

export class ConfigHistory {
  readonly #folder: string | null
  #versions: ConfigVersion[]
  /** Of the latest version's data; null: not computed yet. */
  #latestDigest: string | null = null

  /** `folder` null: in memory only. */
  constructor(folder: string | null) {
    this.#folder = folder
    this.#versions = folder === null ? [] : readVersions(folder)
  }

  /** Oldest first. */
  get versions(): readonly ConfigVersion[] {
    return this.#versions
  }

  get latest(): ConfigVersion | null {
    return this.#versions.at(-1) ?? null
  }

  /** The one before the one in force, or null; a second rollback goes further back. */
  get previous(): ConfigVersion | null {
    const { latest } = this
    const inForce = latest?.restores ?? latest?.version ?? 0
    return this.#versions.filter(({ version, origin }) => version < inForce && origin !== "rollback").at(-1) ?? null
  }

  /** Remembers what is in force now; the same again is not a new version. One at a time. */
  *add(entry: Omit<ConfigVersion, "version">): Turns<ConfigVersion> {
    const { latest } = this
    const version = { version: (latest?.version ?? 0) + 1, ...entry }
    // Data may be long: it becomes text once.
    const data = yield* jsonTurns(entry.data)
    const digest = yield* digestOf(data)
    this.#latestDigest ??= latest === null ? null : yield* digestOf(yield* jsonTurns(latest.data))
    const isSame = latest?.origin === entry.origin && latest.fileHash === entry.fileHash
    if (latest !== null && isSame && this.#latestDigest === digest) return latest
    yield* this.#write(version, data)
    this.#latestDigest = digest
    this.#versions.push(version)
    for (const old of this.#versions.splice(0, this.#versions.length - KEPT)) this.#remove(old)
    return version
  }

  *#write({ data: _, ...version }: ConfigVersion, data: Buffer): Turns<void> {
    if (this.#folder === null) return
    makeFolder(this.#folder, 0o700)
    const file = fileOf(this.#folder, version.version)
    const out = openSync(`${file}.tmp`, "w", 0o600)
    try {
      writeAll(out, Buffer.from(`${JSON.stringify(version).slice(0, -1)},"data":`))
      for (const slice of slices(data)) {
        writeAll(out, slice)
        yield
      }
      writeAll(out, Buffer.from("}\n"))
    } finally {
      closeSync(out)
    }
    renameSync(`${file}.tmp`, file)
  }

  #remove({ version }: ConfigVersion): void {
    if (this.#folder !== null) rmSync(fileOf(this.#folder, version), { force: true })
  }
}

function* digestOf(data: Buffer): Turns<string> {
  const digest = createHash("sha256")
  for (const slice of slices(data)) {
    digest.update(slice)
    yield
  }
  return digest.digest("hex")
}

/** Bytes between two looks at the time. */
const SLICE = 256 * 1024

function* slices(data: Buffer): Generator<Buffer> {
  for (let from = 0; from < data.length; from += SLICE) yield data.subarray(from, from + SLICE)
}

function writeAll(out: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(out, bytes, at)
}

function fileOf(folder: string, version: number): string {
  return join(folder, `${String(version).padStart(8, "0")}.json`)
}

/** What can be read; a torn file is passed over. */
function readVersions(folder: string): ConfigVersion[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => /^\d{8}\.json$/.test(name))
  } catch {
    return []
  }
  return names.sort().flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(join(folder, name), "utf8")) as ConfigVersion]
    } catch {
      return []
    }
  })
}
