/** The loop that compares upstreams with their goals and moves their limits. */
export { type Decision, decide, type Situation } from "./decide.ts"
export { Observer } from "./observe.ts"
export { Optimizer } from "./optimizer.ts"
