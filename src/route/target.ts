/** Builders for `to:` where a plain upstream name is not enough. */
import type { HandlerDefinition } from "../policy/index.ts"
import { markHandler } from "../policy/index.ts"

/** Answered by a TypeScript handler, given itself or by the name it is listed under in `handlers`. */
export function handler(target: HandlerDefinition | string): { readonly handler: string } {
  if (typeof target === "string") return { handler: target }
  return markHandler({ handler: target.name }, target)
}

/** Answered directly; `{name}` captures of the path may stand in the body. */
export const respond = (status: number, body = "", headers: Readonly<Record<string, string>> = {}) => ({
  respond: { status, body, headers },
})

/** Sent elsewhere; status 301, 302, 303, 307 or 308, default 302. */
export const redirect = (location: string, status = 302) => ({ redirect: { location, status } })

/** Published under another topic; `{topic}` stands for the original one. */
export const toTopic = (topic: string) => ({ topic })
