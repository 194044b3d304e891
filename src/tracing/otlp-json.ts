/** Spans as OTLP/JSON (opentelemetry-proto, ExportTraceServiceRequest): ids hexadecimal, 64-bit numbers as text. */
import type { Attribute, Span } from "./span.ts"

/** What all spans have in common. */
export interface Source {
  readonly resource: readonly Attribute[]
  readonly scope: { readonly name: string; readonly version: string }
}

export const STATUS_ERROR = 2

export function toJson({ resource, scope }: Source, spans: readonly Span[]): Buffer {
  const request = {
    resourceSpans: [
      { resource: { attributes: resource.map(toKeyValue) }, scopeSpans: [{ scope, spans: spans.map(toSpan) }] },
    ],
  }
  return Buffer.from(JSON.stringify(request))
}

function toSpan(span: Span): object {
  const { traceId, spanId, parentSpanId, traceState, flags, name, kind, startNs, endNs, attributes, isError } = span
  return {
    traceId,
    spanId,
    ...(traceState !== "" && { traceState }),
    ...(parentSpanId !== "" && { parentSpanId }),
    flags,
    name,
    kind,
    startTimeUnixNano: String(startNs),
    endTimeUnixNano: String(endNs),
    attributes: attributes.map(toKeyValue),
    status: isError ? { code: STATUS_ERROR } : {},
  }
}

function toKeyValue([key, value]: Attribute): object {
  return { key, value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value } }
}
