/** Connectors that only some need: imported when used, with the package to install where it is missing. */
import { messageOf, TidegateError } from "../errors.ts"

/** What `load` imports. Throws MODULE_MISSING with the command that installs it. */
export async function optional<T>(name: string, wantedBy: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new TidegateError("MODULE_MISSING", `${wantedBy} needs the package ${name}: ${messageOf(error)}`, {
      cause: error,
      hint: `npm install ${name}`,
    })
  }
}
