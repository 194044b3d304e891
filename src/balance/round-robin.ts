/** roundRobin: in order over the healthy endpoints, the default. */
import { options, strategy } from "./strategy.ts"

export const roundRobinStrategy = strategy({
  name: "roundRobin",
  options: options({}),
  toPlan: () => ({ strategy: "roundRobin" }),
})
