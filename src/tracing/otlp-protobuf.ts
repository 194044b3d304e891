/**
 * Spans as OTLP in protobuf's wire format: the few messages and fields that spans of a
 * gateway have. Numbers are those of opentelemetry-proto's trace.proto.
 */
import { type Source, STATUS_ERROR } from "./otlp-json.ts"
import type { Attribute, Span } from "./span.ts"

const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]

export function toProtobuf({ resource, scope }: Source, spans: readonly Span[]): Buffer {
  const scopeMessage = [text(1, scope.name), text(2, scope.version)]
  const scopeSpans = [message(1, scopeMessage), ...spans.map((span) => message(2, toSpan(span)))]
  const resourceSpans = [
    message(
      1,
      resource.map((attribute) => keyValue(1, attribute)),
    ),
    message(2, scopeSpans),
  ]
  return message(1, resourceSpans)
}

function toSpan(span: Span): Buffer[] {
  return [
    bytes(1, Buffer.from(span.traceId, "hex")),
    bytes(2, Buffer.from(span.spanId, "hex")),
    text(3, span.traceState),
    bytes(4, Buffer.from(span.parentSpanId, "hex")),
    text(5, span.name),
    number(6, span.kind),
    fixed64(7, span.startNs),
    fixed64(8, span.endNs),
    ...span.attributes.map((attribute) => keyValue(9, attribute)),
    ...(span.isError ? [message(15, [number(3, STATUS_ERROR)])] : []),
    fixed32(16, span.flags),
  ]
}

function keyValue(field: number, [key, value]: Attribute): Buffer {
  const any = typeof value === "number" ? Buffer.concat([tag(3, VARINT), varint(value)]) : bytes(1, Buffer.from(value))
  return message(field, [text(1, key), message(2, [any])])
}

function message(field: number, parts: readonly Buffer[]): Buffer {
  return bytes(field, Buffer.concat(parts))
}

function text(field: number, value: string): Buffer {
  return value === "" ? Buffer.alloc(0) : bytes(field, Buffer.from(value))
}

function bytes(field: number, value: Buffer): Buffer {
  return Buffer.concat([tag(field, BYTES), varint(value.length), value])
}

function number(field: number, value: number): Buffer {
  return Buffer.concat([tag(field, VARINT), varint(value)])
}

function fixed64(field: number, value: bigint): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(value)
  return Buffer.concat([tag(field, FIXED64), out])
}

function fixed32(field: number, value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return Buffer.concat([tag(field, FIXED32), out])
}

function tag(field: number, wireType: number | undefined): Buffer {
  return varint((field << 3) | (wireType ?? 0))
}

/** Numbers that are not negative. */
function varint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80)
  out.push(rest)
  return Buffer.from(out)
}
