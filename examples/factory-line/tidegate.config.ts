/** Telemetry goes to the historian; values beyond their limits become alarms, once each. */
import { defineConfig, defineHandler, handler, retry, topic } from "tidegate"

const LIMITS: Readonly<Record<string, number>> = { Temperature: 90, Pressure: 8, Vibration: 4 }

/** Told each change of an alarm. */
export let alarmed: (node: string, active: boolean, value: number) => void = () => {}
export const onAlarm = (tell: typeof alarmed): void => {
  alarmed = tell
}

const active = new Set<string>()

export const limits = defineHandler({
  name: "limits",
  handle: (message) => {
    const node = message.topic ?? ""
    const { value, quality } = message.json() as { value: number; quality: string }
    const limit = LIMITS[node.split("/").at(-1) ?? ""]
    if (limit === undefined || quality !== "Good") return { status: 204 }
    const isOver = value > limit
    if (isOver !== active.has(node)) {
      if (isOver) active.add(node)
      else active.delete(node)
      alarmed(node, isOver, value)
    }
    return { status: 204 }
  },
})

const endpoints = (process.env.HISTORIANS ?? "127.0.0.1:9000").split(",")

export default defineConfig({
  admin: false,
  dataDir: false,
  workers: 1,
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  upstreams: { historian: { endpoints, connectTimeoutMs: 500, outlier: { consecutive5xx: 3 } } },
  routes: [
    { when: topic("line/+/+/+"), to: handler(limits) },
    {
      when: topic("line/+/+/+"),
      to: "historian",
      // A value that was stored twice is harmless, one that was lost is not.
      use: [retry({ attempts: 2, on: ["connect-failure", "reset", "5xx"], nonIdempotent: true })],
    },
  ],
})
