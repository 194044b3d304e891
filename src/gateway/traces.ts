/** Who watches MQTT packets: native is told what all of them want, each gets what it asked for. */
import { isWatched, type MqttTraceLine, type MqttWatch } from "../model/mqtt-trace.ts"

type Tell = (watches: readonly MqttWatch[]) => unknown

export class Traces {
  readonly #listeners = new Map<(line: MqttTraceLine) => void, MqttWatch>()

  /** `tell` hands native what is watched from now on. Returns the way out. */
  start(watch: MqttWatch, listener: (line: MqttTraceLine) => void, tell: Tell): () => void {
    const own = (line: MqttTraceLine): void => listener(line)
    this.#listeners.set(own, watch)
    tell([...this.#listeners.values()])
    return () => {
      this.#listeners.delete(own)
      tell([...this.#listeners.values()])
    }
  }

  deliver(line: MqttTraceLine): void {
    for (const [listener, watch] of this.#listeners) if (isWatched(watch, line)) listener(line)
  }
}
