/** nats: one subject; nothing is stored. */
import { connectNats } from "../remote/index.ts"
import type { OpenChannel } from "./channel.ts"

export const openNats: OpenChannel = async ({ url, channel, ...login }, signal) => {
  const connection = await connectNats({ ...login, servers: url }, "rateLimits.nats")
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
