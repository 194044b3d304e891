/** `tracing`: spans of sampled requests and messages, to a collector by OTLP over HTTP. */
import Type, { type Static } from "typebox"
import { Exact, Secret, Texts } from "./values.ts"

const Count = (description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, description }))
const Ms = (description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 600_000, description }))

export const TracingSchema = Exact({
  endpoint: Type.Optional(
    Type.String({
      pattern: "^https?://[^/]",
      description: "of the collector, without /v1/traces: http://127.0.0.1:4318; without one nothing is traced",
    }),
  ),
  protocol: Type.Optional(Type.Enum(["http/protobuf", "http/json"], { description: "default http/protobuf" })),
  headers: Type.Optional(Type.Record(Type.String({ minLength: 1 }), Secret, { description: "for the collector" })),
  ratio: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description:
        "share of the requests without a parent that begin a trace; for others the parent decides; default 1",
    }),
  ),
  serviceName: Type.Optional(Type.String({ minLength: 1, description: "default tidegate" })),
  attributes: Type.Optional(Texts),
  timeoutMs: Ms("for one batch; default 10,000"),
  delayMs: Ms("a span waits no longer for its batch; default 5,000"),
  maxQueue: Count("spans that wait; beyond, they are dropped and counted; default 2,048"),
  maxBatch: Count("spans of one batch; default 512"),
})

export type TracingData = Static<typeof TracingSchema>
