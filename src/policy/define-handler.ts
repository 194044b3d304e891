/** defineHandler: a TypeScript function that answers requests and receives messages itself. */
import { TidegateError } from "../errors.ts"
import type { HandlerMessage, Reply } from "../model/message.ts"
import { checkName, markHandler } from "./definition.ts"

/** The declaration of a handler; routes name it: `to: handler("events")`. */
export interface HandlerDefinition {
  readonly name: string
  /** Without a reply after that long the client gets 504; default 1,000, 1 to 60,000. */
  readonly deadlineMs?: number
  /** Larger bodies get 413 and never reach it; default 65,536. */
  readonly maxBodyBytes?: number
  readonly handle: (
    message: HandlerMessage,
  ) => Reply | string | object | null | undefined | void | Promise<Reply | string | object | null | undefined | void>
}

/** Declares a handler. Throws POLICY_INVALID when a field is wrong. */
export function defineHandler(definition: HandlerDefinition): HandlerDefinition {
  checkName("handler", definition.name)
  const refuse = (text: string): never => {
    throw new TidegateError("POLICY_INVALID", `handler "${definition.name}": ${text}`)
  }
  const { deadlineMs = 1_000, maxBodyBytes = 65_536, handle } = definition
  if (typeof handle !== "function") refuse("handle must be a function")
  if (!(deadlineMs >= 1 && deadlineMs <= 60_000)) refuse("deadlineMs must be 1 to 60000")
  if (!(maxBodyBytes >= 0 && maxBodyBytes <= 64 * 1024 * 1024)) refuse("maxBodyBytes must be 0 to 67108864")
  return markHandler({ ...definition }, definition)
}
