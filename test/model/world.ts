/**
 * Random clients against a gateway, by a seed. In a round they publish, lose their connections and come again, all at
 * once; between rounds, when nothing is under way for who is connected, some subscribe, unsubscribe, leave or return.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Device } from "./device.ts"
import { Ledger, type Qos } from "./ledger.ts"
import { Random } from "./random.ts"

const FILTERS = ["n/#", "n/+", "n/+/b", "n/a/+", "n/a", "n/b/#", "n/a/b", "n/+/+"]
const TOPICS = ["n/a", "n/b", "n/a/b", "n/b/b", "n/b/a", "n/c/b", "n"]
const SHARED = ["$share/g/s/#"]
const QOS: readonly Qos[] = [0, 1, 2]
/** Publishes that a client has under way at most. */
const WINDOW = 8

export interface Account {
  /** Broken promises, in words. */
  readonly faults: readonly string[]
  readonly published: number
  readonly delivered: number
  readonly drops: number
}

export class World {
  readonly #random: Random
  readonly #ledger = new Ledger()
  readonly #devices: Device[]
  #drops = 0

  constructor(seed: number, port: number, clients = 8) {
    this.#random = new Random(seed)
    const natures = [
      { version: 4, expiry: 600 },
      { version: 5, expiry: 600 },
      { version: 5, expiry: 2 },
      { version: 4, expiry: 0 },
      { version: 5, expiry: 0 },
    ] as const
    const nature = (index: number) => natures[index % natures.length] ?? natures[0]
    this.#devices = Array.from({ length: clients }, (_, index) => {
      return new Device(`m${seed}-${index}`, nature(index), { ledger: this.#ledger, port })
    })
  }

  async run(rounds: number): Promise<Account> {
    for (let round = 0; round < rounds; round++) {
      this.#next()
      await this.#between()
      await Promise.all(this.#devices.map((device) => this.#act(device)))
    }
    await this.#home()
    const lives = this.#ledger.lives
    return {
      faults: [...this.#devices.flatMap(({ faults }) => faults), ...this.#ledger.faults()],
      published: this.#ledger.sent.size,
      delivered: lives.reduce((sum, { came }) => sum + came.length, 0),
      drops: this.#drops,
    }
  }

  /** The next round begins with what everybody is subscribed to. */
  #next(): void {
    const { round } = this.#ledger
    for (const { life } of this.#devices) life?.rounds.push(new Map(life.rounds[round]))
    // Lives keep their rounds by number.
    for (const life of this.#ledger.lives) life.rounds.length = Math.max(life.rounds.length, round + 2)
    this.#ledger.round = round + 1
  }

  /** Who is away comes, or stays away; subscriptions change. */
  async #between(): Promise<void> {
    const random = this.#random
    for (const device of this.#devices) {
      if (!device.isConnected && random.chance(0.8)) await device.connect(random.chance(0.1))
      if (!device.isConnected) continue
      // One change a round: a topic that is subscribed to before and behind it is so all the time.
      if (random.chance(0.7)) {
        const isShared = random.chance(0.2)
        const filter = random.pick(isShared ? SHARED : FILTERS)
        if (random.chance(0.7)) await device.subscribe(filter, isShared ? 2 : random.pick(QOS))
        else await device.unsubscribe(filter)
      }
      if (random.chance(0.05)) device.drop()
    }
    await this.#settle()
  }

  /** One client's share of a round. */
  async #act(device: Device): Promise<void> {
    const random = this.#random
    for (let acts = 4 + random.below(12); acts > 0; acts--) {
      await sleep(random.below(4))
      if (!device.isConnected) {
        if (random.chance(0.5)) await device.connect(false)
        continue
      }
      if (random.chance(0.06)) {
        device.drop()
        this.#drops++
      } else if (device.open < WINDOW) {
        device.publish(random.chance(0.15) ? "s/x" : random.pick(TOPICS), random.pick(QOS))
      }
    }
  }

  /** Until nobody who is connected has anything under way. */
  async #settle(): Promise<void> {
    const connected = this.#devices.filter(({ isConnected }) => isConnected)
    for (const end = Date.now() + 10_000; connected.some(({ open }) => open > 0); await sleep(5)) {
      if (Date.now() > end) throw new Error("what was published is not acknowledged")
    }
    await Promise.all(connected.map((device) => device.settle()))
  }

  /** Everybody comes back and takes what waits; then nothing more comes. */
  async #home(): Promise<void> {
    for (const device of this.#devices) if (!device.isConnected) await device.connect(false)
    const came = () => this.#ledger.lives.reduce((sum, life) => sum + life.came.length, 0)
    for (let before = -1; came() > before; await sleep(150)) {
      before = came()
      await this.#settle()
    }
    for (const device of this.#devices) device.drop()
  }
}
