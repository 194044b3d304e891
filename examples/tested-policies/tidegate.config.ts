/** Requests of a tenant go where the tenant is; a freezer that reports no cold is an alarm. */
import { byHeader, defineConfig, defineHandler, definePolicy, handler, path, respond, topic } from "tidegate"

export const tenant = definePolicy({
  name: "tenant",
  reads: () => [byHeader("x-tenant")],
  decide: (message) => {
    const name = message.header("x-tenant")
    return name === null ? { reject: { status: 400, body: "say x-tenant\n" } } : { setHeaders: { "x-shard": name.slice(0, 1) } }
  },
})

/** What was told to be too warm; a real one would page somebody. */
export const alarms: string[] = []

export const freezer = defineHandler({
  name: "freezer",
  handle: (message) => {
    if (Number(message.text()) > -15) alarms.push(`${message.topic} ${message.text()}`)
  },
})

export default defineConfig({
  routes: [
    { when: path("/shop/**"), to: respond(200, "welcome\n"), use: [tenant()] },
    { when: topic("freezer/+/temp"), to: handler(freezer) },
  ],
})
