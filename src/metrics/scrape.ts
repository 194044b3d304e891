/**
 * One scrape: a single crossing that brings all values. Form: u32le length of a JSON
 * text, the text (an array of the series that are new since `known`), padding to 8
 * bytes, then the f64le values of all series in the order of their index: one for a
 * counter or gauge; for a histogram the cumulative count of each bucket, that of the
 * infinite one, the sum and the count.
 */
import type { NativeGateway } from "../native/index.ts"

/** What a series is; its place in the list is its index. */
export interface Series {
  readonly metric: string
  readonly labels: Readonly<Record<string, string>>
  readonly kind: "counter" | "gauge" | "histogram"
  /** Upper bounds, ascending; of histograms only. */
  readonly buckets?: readonly number[]
}

/** A series with its values of this scrape. */
export interface Sample extends Series {
  readonly values: readonly number[]
}

export class Scraper {
  readonly #native: Pick<NativeGateway, "scrape">
  readonly #series: Series[] = []

  constructor(native: Pick<NativeGateway, "scrape">) {
    this.#native = native
  }

  scrape(): readonly Sample[] {
    const bytes = this.#native.scrape(this.#series.length)
    const length = bytes.readUInt32LE(0)
    this.#series.push(...(JSON.parse(bytes.toString("utf8", 4, 4 + length)) as Series[]))
    let at = Math.ceil((4 + length) / 8) * 8
    return this.#series.map((series) => {
      const values = Array.from({ length: widthOf(series) }, (_, index) => bytes.readDoubleLE(at + index * 8))
      at += values.length * 8
      return { ...series, values }
    })
  }
}

function widthOf({ kind, buckets = [] }: Series): number {
  return kind === "histogram" ? buckets.length + 3 : 1
}
