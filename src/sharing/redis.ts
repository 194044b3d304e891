/** redis: PUBLISH and SUBSCRIBE on one channel, over two connections as Redis wants it. */
import { optional } from "../remote/index.ts"
import { Inbox, type OpenChannel } from "./channel.ts"

export const openRedis: OpenChannel = async ({ url, channel }, signal) => {
  const { Redis } = await optional("ioredis", "rateLimits.redis", () => import("ioredis"))
  const inbox = new Inbox()
  // Whoever follows begins anew, with a growing wait.
  const options = { lazyConnect: true, connectTimeout: 5_000, maxRetriesPerRequest: 0, retryStrategy: () => null }
  const [sender, receiver] = [new Redis(url, options), new Redis(url, options)]
  const close = async (): Promise<void> => {
    inbox.end(null)
    sender.disconnect()
    receiver.disconnect()
  }
  for (const connection of [sender, receiver]) {
    connection.on("error", (error: Error) => inbox.end(error))
    connection.on("close", () => inbox.end(new Error("Redis closed the connection")))
  }
  signal.addEventListener("abort", () => void close(), { once: true })
  try {
    await Promise.all([sender.connect(), receiver.connect()])
    receiver.on("message", (_, text: string) => inbox.push(text))
    await receiver.subscribe(channel)
  } catch (error) {
    await close()
    throw error
  }
  return {
    send: async (text) => void (await sender.publish(channel, text)),
    receive: () => inbox,
    close,
  }
}
