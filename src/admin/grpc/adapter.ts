/**
 * The registry's calls by gRPC over HTTP/2, and by gRPC-Web and Connect over either version. Judged
 * and audited as every call of the admin API.
 */
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt"
import { Code, ConnectError, createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect"
import { connectNodeAdapter } from "@connectrpc/connect-node"
import { messageOf } from "../../errors.ts"
import { toTidegateError } from "../../native/index.ts"
import { record } from "../audit.ts"
import type { AdminContext } from "../context.ts"
import type { Judge } from "../guard.ts"
import { STATUS } from "../problem.ts"
import type { Handler } from "./index.ts"
import { Registry } from "./registry_pb.ts"
import { createRegistryService } from "./service.ts"

/** A registration with all the metadata it may have is smaller. */
const MAX_MESSAGE = 1024 * 1024

const CODES: Readonly<Record<number, Code>> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  409: Code.FailedPrecondition,
  421: Code.FailedPrecondition,
  422: Code.InvalidArgument,
  501: Code.Unimplemented,
  503: Code.Unavailable,
}

const RAW = createContextKey<Parameters<Handler>[0] | null>(null)

/** Answers the service's calls; all others go to `fallback`. */
export function createAdapter(context: AdminContext, judge: Judge, fallback: Handler): Handler {
  return connectNodeAdapter({
    routes: (router) => router.service(Registry, createRegistryService(context.gateway)),
    interceptors: [createInterceptor(context, judge)],
    contextValues: (request) => createContextValues().set(RAW, request),
    readMaxBytes: MAX_MESSAGE,
    fallback,
  })
}

function createInterceptor(context: AdminContext, judge: Judge): Interceptor {
  return (next) => async (request) => {
    const raw = request.contextValues.get(RAW)
    const { idempotency, name } = request.method
    const isRead = idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
    const { caller, refusal } = judge({ headers: raw?.headers ?? {}, socket: raw?.socket ?? {}, isOpen: false, isRead })
    const finish = (status: number): void => {
      if (isRead || request.stream || name === "Heartbeat") return
      const address = raw?.socket.remoteAddress ?? ""
      record(context, { caller, address, method: `gRPC ${name}`, path: pathOf(request.message), status })
    }
    if (refusal !== null) {
      finish(refusal.status)
      throw new ConnectError(refusal.detail, CODES[refusal.status])
    }
    try {
      const answer = await next(request)
      finish(200)
      return answer
    } catch (error) {
      const { status, told } = toConnectError(error, (text) => context.gateway.warn(`admin: gRPC ${name}: ${text}`))
      finish(status)
      throw told
    }
  }
}

/** Where the REST call is made; an audit log has one name for one thing. */
function pathOf(message: object): string {
  const { service = "", id = "" } = message as { readonly service?: string; readonly id?: string }
  return `/v1/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(id)}`
}

function toConnectError(error: unknown, complain: (text: string) => void): { status: number; told: ConnectError } {
  if (error instanceof ConnectError) return { status: error.code === Code.InvalidArgument ? 400 : 500, told: error }
  const { code, message } = toTidegateError(error)
  const status = STATUS[code] ?? 500
  if (status !== 500) return { status, told: new ConnectError(message, CODES[status]) }
  complain(error instanceof Error ? (error.stack ?? messageOf(error)) : messageOf(error))
  return { status, told: new ConnectError("an unexpected fault; it is in the log", Code.Internal) }
}
