/** Renders everything as Prometheus text: native series from one scrape, the control plane's own numbers, the process. */
import { collectDefaultMetrics, type Metric, Registry } from "prom-client"
import type { Snapshot } from "../model/snapshot.ts"
import type { NativeGateway } from "../native/index.ts"
import { type Sample, Scraper } from "./scrape.ts"
import { snapshotOf } from "./snapshot.ts"
import { helpOf, kindOf, METRICS } from "./table.ts"

/** A number the control plane itself knows. */
export type OwnSamples = () => readonly Sample[]

interface Value {
  readonly value: number
  readonly labels: Readonly<Record<string, string | number>>
  readonly metricName?: string
}

export class MetricsExporter {
  readonly #registry = new Registry()
  readonly #scraper: Scraper
  readonly #own: OwnSamples
  #samples = new Map<string, Sample[]>()

  constructor(native: Pick<NativeGateway, "scrape">, own: OwnSamples) {
    this.#scraper = new Scraper(native)
    this.#own = own
    collectDefaultMetrics({ register: this.#registry })
    for (const name of Object.keys(METRICS)) this.#register(name)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The same numbers by protocol, route and upstream. */
  snapshot(): Snapshot {
    return snapshotOf(this.#scraper.scrape())
  }

  async render(): Promise<string> {
    this.#take([...this.#scraper.scrape(), ...this.#own()])
    return this.#registry.metrics()
  }

  /** Native's number wins where both sides have one. */
  #take(samples: readonly Sample[]): void {
    const byKey = new Map<string, Sample>()
    for (const sample of samples) {
      const key = `${sample.metric} ${JSON.stringify(sample.labels)}`
      if (!byKey.has(key)) byKey.set(key, sample)
    }
    this.#samples = new Map()
    for (const sample of byKey.values()) {
      this.#samples.set(sample.metric, [...(this.#samples.get(sample.metric) ?? []), sample])
    }
    for (const name of this.#samples.keys()) {
      if (this.#registry.getSingleMetric(name) === undefined) this.#register(name)
    }
  }

  /** prom-client asks the object for its values when it renders; nothing is counted in JavaScript. */
  #register(name: string): void {
    const [help, type] = [helpOf(name), kindOf(name)]
    const get = async () => ({
      name,
      help,
      type: this.#samples.get(name)?.[0]?.kind ?? type,
      aggregator: "sum",
      values: (this.#samples.get(name) ?? []).flatMap(toValues),
    })
    this.#registry.registerMetric({ name, help, type, aggregator: "sum", get } as unknown as Metric)
  }
}

function toValues({ metric, labels, kind, buckets = [], values }: Sample): Value[] {
  if (kind !== "histogram") return [{ value: values[0] ?? 0, labels }]
  const counts = [...buckets, "+Inf" as const].map((bound, index): Value => {
    return { metricName: `${metric}_bucket`, labels: { ...labels, le: bound }, value: values[index] ?? 0 }
  })
  const [sum = 0, count = 0] = values.slice(buckets.length + 1)
  return [
    ...counts,
    { metricName: `${metric}_sum`, labels, value: sum },
    { metricName: `${metric}_count`, labels, value: count },
  ]
}
