/** From decisions to the document Rust executes. */
export { compile, type PlanInputs, type UpstreamEndpoints } from "./compile.ts"
export { type ProgramData, programData, toProgram } from "./script.ts"
