// What `npm test` runs: the tests that bin/built-tests.mjs makes. `npx ava test/x/y.test.ts` runs one from its source.
import { availableParallelism } from "node:os"

export default {
  files: ["target/test/**/*.test.js"],
  workerThreads: false,
  // Most of them wait: for a timeout, for a gateway to start.
  concurrency: 2 * availableParallelism(),
  timeout: "2m",
}
