/** The exporter of the configuration in force; a new one where that says another thing. */
import { isDeepStrictEqual } from "node:util"
import type { NormalizedTracing } from "../config/index.ts"
import { type SpanCounts, SpanExporter } from "./exporter.ts"
import type { SpanRecord } from "./span.ts"

export class Tracer {
  readonly counts: SpanCounts = { exported: 0, dropped: 0, failed: 0 }
  readonly #complain: (text: string) => void
  #config: NormalizedTracing | null = null
  #exporter: SpanExporter | null = null

  constructor(complain: (text: string) => void) {
    this.#complain = complain
  }

  get isOn(): boolean {
    return this.#config !== null
  }

  use(config: NormalizedTracing | null): void {
    if (isDeepStrictEqual(config, this.#config)) return
    this.#config = config
    // Spans that wait still go where they were meant to.
    void this.#exporter?.close()
    this.#exporter = config === null ? null : new SpanExporter(toOptions(config), this.counts, this.#complain)
  }

  /** A record of native, as JSON. */
  take(text: string): void {
    this.#exporter?.take(JSON.parse(text) as SpanRecord)
  }

  async close(): Promise<void> {
    await this.#exporter?.close()
  }
}

function toOptions({ serviceName, attributes, ratio: _, ...rest }: NormalizedTracing) {
  const resource = { "service.name": serviceName, "telemetry.sdk.name": "tidegate", ...attributes }
  return { ...rest, resource: Object.entries(resource), scope: { name: "tidegate", version: "" } }
}
