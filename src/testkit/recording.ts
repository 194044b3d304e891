/** Traffic that was recorded, as data: lines of JSON that a later run plays again. */
import type { ReceivedMessage } from "../model/message.ts"

/** One message and when it came, milliseconds after the recording began. */
export interface RecordedMessage {
  readonly atMs: number
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Base64. */
  readonly payload: string
}

/** What of the gateway a recording needs. */
export interface Recordable {
  subscribe(filter: string, listener: (message: ReceivedMessage) => void, options: { qos: 0 | 1 | 2 }): () => void
}

export interface Recording {
  readonly messages: readonly RecordedMessage[]
  stop(): readonly RecordedMessage[]
  /** A line of JSON for each message. */
  toLines(): string
}

/** Every message whose topic matches, from now on; retained ones come first. */
export function record(
  gateway: Recordable,
  filter: string,
  now: () => number = performance.now.bind(performance),
): Recording {
  const messages: RecordedMessage[] = []
  const began = now()
  const stop = gateway.subscribe(
    filter,
    ({ topic, qos, retain, payload }) =>
      messages.push({ atMs: Math.round(now() - began), topic, qos, retain, payload: payload.toString("base64") }),
    { qos: 2 },
  )
  return {
    messages,
    stop: () => {
      stop()
      return messages
    },
    toLines: () => messages.map((message) => `${JSON.stringify(message)}\n`).join(""),
  }
}

/** The messages of `toLines`. Throws SyntaxError for a line that is no JSON. */
export function fromLines(text: string): RecordedMessage[] {
  const lines = text.split("\n").filter((line) => line !== "")
  return lines.map((line) => JSON.parse(line) as RecordedMessage)
}
