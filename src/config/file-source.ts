/**
 * The file as a source of configurations: an async iterator that yields whenever the
 * file (or a program beside a program) may have changed. Folders are watched, since
 * editors and deployments replace files instead of writing into them.
 */
import { createHash } from "node:crypto"
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs"
import { basename, dirname } from "node:path"
import { setTimeout as delay } from "node:timers/promises"

/** A burst of events is one change. */
const SETTLE_MS = 60
/** The file is also read this often: a network folder tells no events, and watches can run out. */
const POLL_MS = 2_000

/** Hash of a file's content; empty where there is none. */
export function fileHash(file: string | null): string {
  if (file === null) return ""
  try {
    return createHash("sha256").update(readFileSync(file)).digest("hex")
  } catch {
    return ""
  }
}

/** What tells that a file may have changed, at the price of no read. */
function fileStamp(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(" ")
  } catch {
    return ""
  }
}

/** Yields the file's new hash after each change until the signal aborts. */
export async function* watchFile(file: string, signal: AbortSignal): AsyncGenerator<string> {
  const isProgram = /\.[mc]?[jt]s$/.test(file)
  const dirty = new Dirty()
  const watcher = openWatcher(dirname(file), (name) => {
    // A program may import its neighbours; their change is its change.
    if (name === null || name === basename(file) || (isProgram && /\.[mc]?[jt]s$/.test(name))) dirty.set()
  })
  signal.addEventListener("abort", () => dirty.set(), { once: true })
  const poll = setInterval(() => fileStamp(file) !== stamp && dirty.set(), POLL_MS).unref()
  let stamp = fileStamp(file)
  let hash = fileHash(file)
  try {
    while (!signal.aborted) {
      await dirty.wait()
      await delay(SETTLE_MS, undefined, { ref: false, signal }).catch(() => undefined)
      dirty.clear()
      stamp = fileStamp(file)
      const next = fileHash(file)
      if (signal.aborted || next === "" || (next === hash && !isProgram)) continue
      hash = next
      yield next
    }
  } finally {
    clearInterval(poll)
    watcher?.close()
  }
}

/** Null where the system cannot watch; the file is polled all the same. */
function openWatcher(folder: string, changed: (name: string | null) => void): FSWatcher | null {
  try {
    const watcher = watch(folder, { persistent: false }, (_, name) => changed(name))
    watcher.on("error", () => watcher.close())
    return watcher
  } catch {
    return null
  }
}

/** A flag one can wait for. */
class Dirty {
  #set = false
  #wake: (() => void) | null = null

  set(): void {
    this.#set = true
    this.#wake?.()
  }

  clear(): void {
    this.#set = false
  }

  wait(): Promise<void> {
    if (this.#set) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
