/** timeout: from the request's end to the response head; streams live on after it. */
import Type, { type Static } from "typebox"
import { Ms } from "./step.ts"

export const TimeoutSchema = Type.Object(
  {
    ms: Ms("for the whole request with its retries; the route's default is 15000"),
    perTryMs: Type.Optional(Ms("for each try; default: what is left")),
  },
  { additionalProperties: false },
)

export type TimeoutOptions = Static<typeof TimeoutSchema>
