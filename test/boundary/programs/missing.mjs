// Loads an addon that is not there, and tells what the error says.
import { loadNative } from "../../../dist/native/index.js"

try {
  loadNative()
} catch (error) {
  process.stdout.write(`${error.code} ${error.exitCode} ${error.message} ${error.hint}\n`)
  process.exit(error.exitCode)
}
