/** peakEwma: the lower of two moving averages of response time times pending requests; a peak counts at once. */
import Type from "typebox"
import { options, strategy } from "./strategy.ts"

export const peakEwmaStrategy = strategy({
  name: "peakEwma",
  options: options({
    decayMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000, description: "default 10000" })),
    seedMs: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 60_000, description: "assumed of a new endpoint; default 30" }),
    ),
  }),
  toPlan: ({ decayMs = 10_000, seedMs = 30 }) => ({ strategy: "peakEwma", decayMs, seedMs }),
})
