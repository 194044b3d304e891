/** Tests that need the addon: they fail in CI where it is missing, elsewhere they are left out with the reason. */
import test, { type ExecutionContext } from "ava"
import { messageOf } from "../../src/errors.ts"
import { loadNative } from "../../src/native/index.ts"

function whyNot(): string | null {
  try {
    loadNative()
    return null
  } catch (error) {
    return messageOf(error)
  }
}

const reason = process.env.CI === undefined ? whyNot() : null

/** One after the other: they measure what a thread does in time. */
export function withAddon(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  if (reason === null) test.serial(title, run)
  else test.skip(`${title} (${reason})`, run)
}
