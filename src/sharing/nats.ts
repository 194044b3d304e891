/** nats: one subject; nothing is stored. */
import { optional } from "../remote/index.ts"
import type { OpenChannel } from "./channel.ts"

export const openNats: OpenChannel = async ({ url, user, password, token, channel }, signal) => {
  const name = "@nats-io/transport-node"
  const { connect } = await optional(name, "rateLimits.nats", () => import("@nats-io/transport-node"))
  const connection = await connect({
    servers: url.split(","),
    name: "tidegate",
    timeout: 5_000,
    // Whoever follows begins anew, with a growing wait.
    reconnect: false,
    ...(user !== null && { user, pass: password ?? "" }),
    ...(token !== null && { token }),
  })
  const subscription = connection.subscribe(channel)
  signal.addEventListener("abort", () => void connection.close(), { once: true })
  return {
    send: async (text) => connection.publish(channel, text),
    async *receive() {
      for await (const message of subscription) yield message.string()
      if (!signal.aborted) throw new Error("NATS closed the connection")
    },
    close: () => connection.close(),
  }
}
