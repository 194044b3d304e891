/** Errors of the admin API: RFC 9457 problem documents. */
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify"
import { type ErrorCode, messageOf, type Problem, type TidegateError } from "../errors.ts"
import { toTidegateError } from "../native/index.ts"

/** What a coded error is in HTTP; one that is not here is a fault of ours. */
export const STATUS: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: 422,
  CONFIG_NO_PREVIOUS: 409,
  POLICY_INVALID: 422,
  PORT_IN_USE: 409,
  ADDRESS_NOT_AVAILABLE: 409,
  CANNOT_LISTEN: 409,
  INVALID_QUERY: 400,
  INVALID_TOPIC: 400,
  CLOSED: 503,
  SERVICE_UNKNOWN: 404,
  SERVICE_INVALID: 422,
  ADDRESS_INVALID: 422,
  OPTIMIZER_CHANGE: 409,
  GATEWAY_STATE: 503,
  NOT_AVAILABLE: 501,
}

/** The document. `code` is Tidegate's own, `problems` the list of a refused configuration. */
export interface ProblemDocument {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code?: string
  readonly hint?: string
  readonly problems?: readonly Problem[]
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  501: "Not Implemented",
  503: "Service Unavailable",
}

/** Sends one. */
export function sendProblem(
  reply: FastifyReply,
  status: number,
  detail: string,
  more: Partial<ProblemDocument> = {},
): FastifyReply {
  const document: ProblemDocument = {
    type: "about:blank",
    title: TITLES[status] ?? "Internal Server Error",
    status,
    detail,
    ...more,
  }
  return reply.status(status).type("application/problem+json").send(JSON.stringify(document))
}

/** Fastify's error handler: coded errors by their code, faults of the request as they are, the rest is ours. */
export function createErrorHandler(complain: (text: string) => void) {
  return (error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const status = "statusCode" in error ? (error.statusCode ?? 500) : 500
    // Who still sends would not see the answer: the rest is read and forgotten, as long as one request may take.
    if (status === 413) reply.removeHeader("connection")
    if (status < 500) return sendProblem(reply, status, messageOf(error))
    const coded = toTidegateError(error)
    const known = STATUS[coded.code]
    if (known !== undefined) return sendCoded(reply, known, coded)
    complain(`admin: ${request.method} ${request.url}: ${error.stack ?? messageOf(error)}`)
    return sendProblem(reply, 500, "an unexpected fault; it is in the log", { code: coded.code })
  }
}

function sendCoded(
  reply: FastifyReply,
  status: number,
  { code, hint, problems, message }: TidegateError,
): FastifyReply {
  const more = { code, ...(hint !== null && { hint }), ...(problems.length > 0 && { problems }) }
  return sendProblem(reply, status, message, more)
}
