/** Metrics: one crossing a scrape, rendered by prom-client. */
export { MetricsExporter, type OwnSamples } from "./exporter.ts"
export { type Sample, Scraper, type Series } from "./scrape.ts"
export { snapshotOf } from "./snapshot.ts"
export { helpOf, METRICS } from "./table.ts"
