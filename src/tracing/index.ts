/** Spans of requests and messages, to a collector. */
export { type ExporterOptions, type SpanCounts, SpanExporter } from "./exporter.ts"
export { toJson } from "./otlp-json.ts"
export { toProtobuf } from "./otlp-protobuf.ts"
export { type Span, type SpanRecord, toSpan } from "./span.ts"
export { Tracer } from "./tracer.ts"
