/**
 * What the specification owes: who was subscribed to what in which round, what was published from which round to
 * which, and what came to whom. At the end `faults` lists every promise that was broken.
 */

export type Qos = 0 | 1 | 2

/** A publish, from its sending to its acknowledgement. */
export interface Sent {
  readonly name: string
  readonly publisher: string
  readonly sequence: number
  readonly topic: string
  readonly qos: Qos
  readonly from: number
  /** The round of its acknowledgement; null: there was none. */
  until: number | null
}

/** One life of a session: from its beginning to its end. */
export class Life {
  readonly client: string
  readonly begun: number
  ended: number | null = null
  /** What it is subscribed to, by round: filter to QoS. */
  readonly rounds: Map<string, Qos>[] = []
  /** Names in the order in which they came, duplicates of QoS 1 too. */
  readonly came: string[] = []

  constructor(client: string, begun: number) {
    this.client = client
    this.begun = begun
  }

  /** The highest QoS of its filters that match in a round; null: none does. */
  granted(round: number, topic: string): Qos | null {
    const filters = this.rounds[round] ?? new Map<string, Qos>()
    const matching = [...filters].filter(([filter]) => matches(plain(filter), topic)).map(([, qos]) => qos)
    return matching.length === 0 ? null : (Math.max(...matching) as Qos)
  }
}

export class Ledger {
  round = 0
  readonly sent = new Map<string, Sent>()
  readonly lives: Life[] = []

  begin(client: string): Life {
    const life = new Life(client, this.round)
    this.lives.push(life)
    return life
  }

  faults(): string[] {
    const faults = this.lives.flatMap((life) => [...this.#strays(life), ...this.#order(life), ...this.#losses(life)])
    return [...faults, ...this.#shared()]
  }

  /** What came to somebody who had not asked, or twice at QoS 2. */
  #strays(life: Life): string[] {
    const counts = new Map<string, number>()
    for (const name of life.came) counts.set(name, (counts.get(name) ?? 0) + 1)
    return [...counts].flatMap(([name, count]) => {
      const sent = this.sent.get(name)
      if (sent === undefined) return [`${life.client} got ${name}, which nobody sent`]
      const granted = this.#rounds(sent, this.round).map((round) => life.granted(round, sent.topic))
      const asked = granted.filter((qos) => qos !== null)
      if (asked.length === 0) return [`${life.client} got ${name} of ${sent.topic} and never asked for it`]
      const isOnce = sent.qos === 2 && asked.every((qos) => qos === 2)
      return isOnce && count > 1 ? [`${life.client} got ${name} of QoS 2 ${count} times`] : []
    })
  }

  /** MQTT-4.6.0-5: for a topic and QoS of one publisher, what comes first was sent first. */
  #order(life: Life): string[] {
    const last = new Map<string, number>()
    const seen = new Set<string>()
    return life.came.flatMap((name) => {
      const sent = this.sent.get(name)
      if (sent === undefined || seen.has(name) || sent.topic.startsWith("s/")) return []
      seen.add(name)
      const key = `${sent.publisher} ${sent.topic} ${sent.qos}`
      const before = last.get(key) ?? -1
      last.set(key, sent.sequence)
      return sent.sequence > before ? [] : [`${life.client} got ${name} behind ${before} of ${key}`]
    })
  }

  /** What was acknowledged and did not come to a session that was there all the time. */
  #losses(life: Life): string[] {
    if (life.ended !== null) return []
    const came = new Set(life.came)
    return [...this.sent.values()].flatMap((sent) => {
      if (sent.qos === 0 || sent.until === null || sent.topic.startsWith("s/")) return []
      const rounds = this.#rounds(sent, sent.until)
      const owed = life.begun <= sent.from && rounds.every((round) => (life.granted(round, sent.topic) ?? 0) > 0)
      return owed && !came.has(sent.name) ? [`${life.client} never got ${sent.name} of ${sent.topic}`] : []
    })
  }

  /** A shared subscription: once to the group, as long as none of its members has ended and one stays to the end. */
  #shared(): string[] {
    return [...this.sent.values()].flatMap((sent) => {
      if (!sent.topic.startsWith("s/") || sent.qos === 0 || sent.until === null) return []
      const rounds = this.#rounds(sent, sent.until)
      const members = this.lives.filter((life) => rounds.some((round) => life.granted(round, sent.topic) !== null))
      if (members.some((life) => life.ended !== null)) return []
      const all = this.#rounds(sent, this.round)
      const stays = members.some((life) => all.every((round) => (life.granted(round, sent.topic) ?? 0) > 0))
      const count = members.reduce((sum, { came }) => sum + came.filter((name) => name === sent.name).length, 0)
      if (stays && count === 0) return [`nobody of the group got ${sent.name} of ${sent.topic}`]
      return sent.qos === 2 && count > 1 ? [`the group got ${sent.name} of QoS 2 ${count} times`] : []
    })
  }

  #rounds({ from }: Sent, until: number): number[] {
    return Array.from({ length: until - from + 1 }, (_, index) => from + index)
  }
}

/** A filter without its share name. */
export const plain = (filter: string): string => filter.replace(/^\$share\/[^/]+\//, "")

/** MQTT section 4.7, by definition. */
export function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split("/"), topic.split("/")]
  for (const [index, level] of wanted.entries()) {
    if (level === "#") return true
    if (index >= levels.length || (level !== "+" && level !== levels[index])) return false
  }
  return wanted.length === levels.length
}
