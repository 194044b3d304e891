/** `tidegate mqtt trace`: packets as they come and go. */

/** What to show; nothing given: everything. */
export interface MqttWatch {
  readonly clientId?: string
  /** Topic filter. */
  readonly topic?: string
}

/** One packet. */
export interface MqttTraceLine {
  /** Milliseconds since 1970. */
  readonly time: number
  readonly direction: "in" | "out" | "dropped"
  /** The packet's name in lower case. */
  readonly packet: string
  readonly clientId: string | null
  readonly topic: string | null
  readonly qos: number | null
  readonly packetId: number | null
  /** Of the payload. */
  readonly bytes: number | null
  /** Why it was dropped. */
  readonly reason: string | null
}

/** Whether a watch wants a line; topics as MQTT matches them. */
export function isWatched({ clientId, topic }: MqttWatch, line: MqttTraceLine): boolean {
  if (clientId !== undefined && line.clientId !== clientId) return false
  return topic === undefined || (line.topic !== null && matchesFilter(topic, line.topic))
}

function matchesFilter(filter: string, topic: string): boolean {
  const levels = topic.split("/")
  const wanted = filter.split("/")
  if (topic.startsWith("$") && !filter.startsWith("$")) return false
  for (const [at, level] of wanted.entries()) {
    if (level === "#") return true
    if (at >= levels.length || (level !== "+" && level !== levels[at])) return false
  }
  return wanted.length === levels.length
}
