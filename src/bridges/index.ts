/** The bridges of a gateway: those that a configuration names run, others end. */
import { messageOf } from "../errors.ts"
import type { Bridge } from "../model/bridge.ts"
import { openLink } from "./link.ts"

interface Running {
  readonly key: string
  readonly close: Promise<() => Promise<void>>
}

export class Bridges {
  readonly #complain: (text: string) => void
  #running = new Map<string, Running>()

  constructor(complain: (text: string) => void) {
    this.#complain = complain
  }

  /** Follows a configuration; `local` is where the gateway itself takes MQTT, null: nowhere. */
  use(bridges: readonly Bridge[], local: string | null): void {
    const before = this.#running
    this.#running = new Map()
    for (const bridge of bridges) {
      const key = JSON.stringify([bridge, local])
      const known = before.get(bridge.name)
      if (known?.key === key) {
        this.#running.set(bridge.name, known)
        before.delete(bridge.name)
        continue
      }
      const ended = known === undefined ? Promise.resolve() : end(known)
      before.delete(bridge.name)
      this.#running.set(bridge.name, { key, close: ended.then(() => this.#open(bridge, local)) })
    }
    for (const gone of before.values()) void end(gone)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map(end))
    this.#running.clear()
  }

  async #open(bridge: Bridge, local: string | null): Promise<() => Promise<void>> {
    const nothing = async (): Promise<void> => {}
    if (local === null) {
      this.#complain(`bridge "${bridge.name}": no listener of this gateway takes MQTT`)
      return nothing
    }
    try {
      const { default: mqtt } = await import("mqtt")
      return openLink(mqtt, bridge, { local, complain: this.#complain })
    } catch (error) {
      this.#complain(`bridge "${bridge.name}": ${messageOf(error)}; install it with: npm install mqtt`)
      return nothing
    }
  }
}

async function end({ close }: Running): Promise<void> {
  await (await close)()
}
