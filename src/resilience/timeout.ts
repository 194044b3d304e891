/** timeout: from the request's end to the response head; streams live on after it. */
import Type, { type Static } from "typebox"
import { Ms } from "./step.ts"

export const TimeoutSchema = Type.Object(
  {
    ms: Type.Optional(Ms("for the whole request with its retries; default: the route's timeoutMs")),
    perTryMs: Type.Optional(Ms("for each try; default: what is left")),
    idleMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 86_400_000,
        description: "without progress of the answer's body; default 300000; 0: as long as it takes",
      }),
    ),
    totalMs: Type.Optional(Ms("until the answer's last byte; default: as long as it takes")),
  },
  { additionalProperties: false },
)

export type TimeoutOptions = Static<typeof TimeoutSchema>
