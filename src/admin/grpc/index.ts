/**
 * gRPC on the admin address: the twin of `/v1/services`. Its libraries are a seventh of what a start takes,
 * so they are loaded with the first call.
 */
import type { connectNodeAdapter } from "@connectrpc/connect-node"
import { messageOf } from "../../errors.ts"
import type { AdminContext } from "../context.ts"
import type { Judge } from "../guard.ts"

/** Requests of either version of HTTP. */
export type Handler = ReturnType<typeof connectNodeAdapter>

/** Where the calls of `registry.proto` are made. */
const CALLS = "/tidegate.registry.v1.Registry/"

/** Answers the service's calls; all others go to `fallback`. */
export function createGrpc(context: AdminContext, judge: Judge, fallback: Handler): Handler {
  let adapter: Promise<Handler> | undefined
  return (request, response) => {
    if (!request.url?.startsWith(CALLS)) return fallback(request, response)
    adapter ??= import("./adapter.ts").then(({ createAdapter }) => createAdapter(context, judge, fallback))
    adapter.then(
      (handle) => handle(request, response),
      (error) => {
        context.gateway.warn(`admin: gRPC cannot be loaded: ${messageOf(error)}`)
        response.statusCode = 500
        response.end()
      },
    )
  }
}
