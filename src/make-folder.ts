/** Folders, with those above them. */
import { existsSync, mkdirSync } from "node:fs"
import { dirname } from "node:path"

/**
 * Makes a folder where there is none; `mode` is for all that are made. Throws what the system said. The `recursive`
 * of Node goes round without end where nothing can be made in a folder that exists, as in `/proc`.
 */
export function makeFolder(path: string, mode?: number): void {
  if (existsSync(path)) return
  makeFolder(dirname(path), mode)
  try {
    mkdirSync(path, mode === undefined ? {} : { mode })
  } catch (error) {
    // Somebody else was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
}
