/** `alerts`: when a metric has been beyond a bound for a while, something is done. */
import Type from "typebox"
import { Exact, Texts } from "./values.ts"

const ActionSchema = Exact({
  log: Type.Optional(Type.Enum(["info", "warn", "error"], { description: "level of a line in the log" })),
  webhook: Type.Optional(Type.String({ pattern: "^https?://", description: "URL that gets a POST with JSON" })),
  topic: Type.Optional(
    Type.String({ minLength: 1, description: "topic that gets JSON, retained; {name} is replaced" }),
  ),
  command: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: 64,
      description: "program and arguments; no shell, {name}, {state} and {value} are replaced",
    }),
  ),
})

export const AlertSchema = Exact({
  name: Type.String({ minLength: 1, maxLength: 128 }),
  metric: Type.String({ pattern: "^tidegate_[a-z_]+$" }),
  labels: Type.Optional(Texts),
  per: Type.Optional(Type.Literal("second", { description: "the rate of a counter; default: the value" })),
  quantile: Type.Optional(
    Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1, description: "of a histogram, over the last look" }),
  ),
  above: Type.Optional(Type.Number()),
  below: Type.Optional(Type.Number()),
  clearAt: Type.Optional(Type.Number({ description: "where it is over again; default the bound itself" })),
  forMs: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 86_400_000, default: 0, description: "beyond the bound before it fires" }),
  ),
  do: Type.Array(ActionSchema, { minItems: 1, maxItems: 8 }),
})
