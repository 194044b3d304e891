/** bulkhead: how many requests of one route may be at its upstreams at once, whatever its upstreams take of others. */
import Type, { type Static } from "typebox"

export const BulkheadSchema = Type.Object(
  {
    max: Type.Integer({ minimum: 1, maximum: 10_000_000, description: "requests at the same time, over all workers" }),
  },
  { additionalProperties: false },
)

export type BulkheadOptions = Static<typeof BulkheadSchema>
