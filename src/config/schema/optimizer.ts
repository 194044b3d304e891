/** `optimizer`, and the `goals` of an upstream that it compares with what it sees. */
import Type from "typebox"
import { numbers, OPTIMIZER } from "./numbers.ts"
import { Exact } from "./values.ts"

export const OptimizerSchema = Exact({
  mode: Type.Optional(
    Type.Enum(["propose", "apply"], {
      default: "propose",
      description: "only says what it would change, or changes it",
    }),
  ),
  ...numbers(OPTIMIZER),
})

const Limit = (description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000, description }))

export const GoalsSchema = Exact(
  {
    errorRate: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: 1, description: "share of answers of 500 and above, and of none" }),
    ),
    p99Ms: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: 600_000, description: "from sending to the response head" }),
    ),
    load: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        default: 0.8,
        description: "requests at the same time over maxRequests; above it there is room to be given",
      }),
    ),
    maxRequests: Type.Optional(
      Exact(
        { min: Limit("default a tenth of maxRequests"), max: Limit("default maxRequests") },
        "bounds of every change",
      ),
    ),
  },
  "what the optimizer moves maxRequests for",
)
