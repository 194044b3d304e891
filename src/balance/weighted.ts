/** weighted: smooth weighted round robin as in nginx; a failing endpoint loses weight for a while. */
import Type from "typebox"
import { options, strategy } from "./strategy.ts"

export const weightedStrategy = strategy({
  name: "weighted",
  options: options({
    maxFails: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1000, description: "a failure costs weight/maxFails; default 1" }),
    ),
  }),
  toPlan: ({ maxFails = 1 }) => ({ strategy: "weighted", maxFails }),
})
