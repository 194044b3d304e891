/** Motion in the dark turns the lamp of the room on; two seconds without motion, and it goes off. */
import { defineConfig, defineHandler, handler, topic } from "tidegate"

const dark = new Map<string, boolean>()

export const automation = defineHandler({
  name: "automation",
  handle: (message) => {
    const [, room = "", what] = (message.topic ?? "").split("/")
    if (what === "lux") {
      dark.set(room, Number(message.text()) < 20)
      return { status: 204 }
    }
    if (!dark.get(room)) return { status: 204 }
    return publish(room)
  },
})

/** Set by the program around this configuration: a handler answers its message, an automation also sends others. */
let publish: (room: string) => { status: number } = () => ({ status: 204 })

export function onMotion(act: (room: string) => void): void {
  publish = (room) => {
    act(room)
    return { status: 204 }
  }
}

export default defineConfig({
  admin: false,
  dataDir: false,
  workers: 1,
  listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "udp://127.0.0.1:0", protocols: ["coap"] }],
  routes: [
    { when: topic("home/+/lux"), to: handler(automation) },
    { when: topic("home/+/motion"), to: handler(automation) },
  ],
})
