/** leastConnections: the better of two random endpoints; with unequal weights `weight/(active+1)^bias`. */
import Type from "typebox"
import { options, strategy } from "./strategy.ts"

export const leastConnectionsStrategy = strategy({
  name: "leastConnections",
  options: options({
    bias: Type.Optional(
      Type.Number({ minimum: 0, maximum: 10, description: "how much load outweighs weight; default 1" }),
    ),
  }),
  toPlan: ({ bias = 1 }) => ({ strategy: "leastConnections", bias }),
})
