// The configuration of an example, TypeScript as it is, run inside this program with fake devices beside it.
import { createJiti } from "jiti"
import { testGateway } from "../dist/testing.js"

const jiti = createJiti(import.meta.url, { alias: { tidegate: new URL("../dist/index.js", import.meta.url).pathname } })

/** Everything that `tidegate.config.ts` of a folder exports. */
export const load = (folder) => jiti.import(new URL(`./${folder}/tidegate.config.ts`, import.meta.url).pathname)

/** A gateway with it. */
export const open = (config) => testGateway(config)
