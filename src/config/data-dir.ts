/**
 * The data directory: private to its owner, locked by one process, with a version of
 * its format. Everything the gateway writes stands in it.
 */
import { accessSync, constants, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { messageOf, TidegateError } from "../errors.ts"
import { makeFolder } from "../make-folder.ts"

/** Goes up when an older version could not read what a newer one wrote. */
const FORMAT = 1

/** Directories of this very process: its own id in a lock file may also be a predecessor's, as in a container. */
const held = new Set<string>()

export class DataDir {
  readonly path: string
  readonly #lock: string

  /** Creates and locks it. Throws DATA_DIR_UNWRITABLE, DATA_DIR_LOCKED or DATA_DIR_VERSION. */
  constructor(path: string) {
    this.path = path
    this.#lock = join(path, "lock")
    this.#create()
    this.#acquire()
    this.#checkFormat()
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Gives the lock back. */
  close(): void {
    held.delete(this.path)
    rmSync(this.#lock, { force: true })
  }

  #create(): void {
    try {
      makeFolder(this.path, 0o700)
      accessSync(this.path, constants.W_OK)
    } catch (error) {
      throw new TidegateError("DATA_DIR_UNWRITABLE", `${this.path}: ${messageOf(error)}`, {
        cause: error,
        hint: 'choose another place with "dataDir"',
      })
    }
  }

  #acquire(): void {
    if (this.#tryLock()) return
    const holder = Number(readText(this.#lock))
    if (held.has(this.path) || (holder !== process.pid && isAlive(holder))) {
      throw new TidegateError("DATA_DIR_LOCKED", `${this.path} is used by process ${holder}`, {
        hint: 'stop that gateway, or give this one another "dataDir"',
      })
    }
    // The process that held it is gone: take the lock over.
    rmSync(this.#lock, { force: true })
    if (!this.#tryLock())
      throw new TidegateError("DATA_DIR_LOCKED", `${this.path} was locked by another process just now`)
  }

  #tryLock(): boolean {
    try {
      writeFileSync(this.#lock, String(process.pid), { flag: "wx", mode: 0o600 })
      held.add(this.path)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
      throw new TidegateError("DATA_DIR_UNWRITABLE", `${this.#lock}: ${messageOf(error)}`, {
        cause: error,
        hint: 'choose another place with "dataDir"',
      })
    }
  }

  #checkFormat(): void {
    const file = this.file("format")
    const found = readText(file)
    if (found !== "" && Number(found) > FORMAT) {
      this.close()
      throw new TidegateError(
        "DATA_DIR_VERSION",
        `${this.path} has format ${found.trim()}, this version reads ${FORMAT}`,
        { hint: 'run the newer version of tidegate, or choose another place with "dataDir"' },
      )
    }
    if (found === "") writeFileSync(file, `${FORMAT}\n`, { mode: 0o600 })
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
