/**
 * The optimizer: looks at each upstream with goals, proposes or applies another `maxRequests`,
 * and takes back what did not help. What it applied lasts as long as the configuration says the
 * same of the upstream, and not beyond the process.
 */
import type { NormalizedConfig, NormalizedUpstream } from "../config/index.ts"
import { messageOf, TidegateError } from "../errors.ts"
import type { Sample } from "../metrics/index.ts"
import type { ChangeState, OptimizerChange, OptimizerReport, OptimizerRow } from "../model/optimizer.ts"
import { Tuned } from "./tuned.ts"

/** Between two looks the requests under way are counted so often. */
const GLANCES = 10
/** Older changes are forgotten. */
const KEPT = 100

export interface OptimizerOptions {
  readonly scrape: () => readonly Sample[]
  /** Applies the configuration in force again, with what `into` makes of it. */
  readonly apply: () => Promise<void>
  readonly log: (text: string) => void
  readonly now: () => number
}

export class Optimizer {
  readonly #options: OptimizerOptions
  readonly #tuned = new Map<string, Tuned>()
  #config: NormalizedConfig["optimizer"] | null = null
  #changes: OptimizerChange[] = []
  readonly #made: Record<ChangeState, number> = { proposed: 0, applied: 0, undone: 0, dropped: 0 }
  #lastId = 0
  #glances = 0
  #timer: { readonly handle: NodeJS.Timeout; readonly ms: number } | null = null

  constructor(options: OptimizerOptions) {
    this.#options = options
  }

  /** Takes over an applied configuration. */
  use({ optimizer, upstreams }: NormalizedConfig): void {
    this.#config = optimizer
    const wanted = new Map(upstreams.filter(({ goals }) => goals !== null).map((upstream) => [upstream.name, upstream]))
    for (const [name, tuned] of this.#tuned) {
      const upstream = wanted.get(name)
      if (upstream !== undefined && tuned.fits(upstream)) continue
      this.#settle(tuned.proposal, "dropped")
      this.#tuned.delete(name)
    }
    for (const [name, upstream] of wanted) if (!this.#tuned.has(name)) this.#tuned.set(name, new Tuned(upstream))
    const ms = wanted.size === 0 ? 0 : Math.round(optimizer.intervalMs / GLANCES)
    if (this.#timer?.ms === ms) return
    this.close()
    // Nothing is scraped for goals that nobody has.
    if (ms > 0) this.#timer = { handle: setInterval(() => void this.glance(), ms).unref(), ms }
  }

  /** The configuration with the limits that are in force. */
  into(config: NormalizedConfig): NormalizedConfig {
    if (this.#tuned.size === 0) return config
    return { ...config, upstreams: config.upstreams.map((upstream) => this.#limited(upstream)) }
  }

  #limited(upstream: NormalizedUpstream): NormalizedUpstream {
    const tuned = this.#tuned.get(upstream.name)
    if (tuned === undefined || !tuned.fits(upstream)) return upstream
    return { ...upstream, maxRequests: tuned.limit }
  }

  /** Tells one state of the limits from the next. */
  stamp(): string {
    return [...this.#tuned.values()].map(({ name, limit }) => `${name} ${limit}`).join("\n")
  }

  /** A tenth of an interval is over. */
  async glance(): Promise<void> {
    const samples = this.#options.scrape()
    this.#glances = (this.#glances + 1) % GLANCES
    if (this.#glances === 0) return this.look(samples)
    for (const { observer } of this.#tuned.values()) observer.glance(samples)
  }

  /** Compares with the goals, and does what follows. */
  async look(samples: readonly Sample[] = this.#options.scrape()): Promise<void> {
    for (const tuned of [...this.#tuned.values()]) {
      if (this.#config === null) return
      const decision = tuned.look(samples, this.#config)
      if (decision === null || decision.kind === "wait") continue
      try {
        if (decision.kind === "undo") await this.#undo(tuned, decision.reason)
        else if (decision.kind === "hold") this.#propose(tuned, null)
        else await this.#change(tuned, decision)
      } catch (error) {
        this.#options.log(`optimizer: a change of upstream ${tuned.name} could not be applied: ${messageOf(error)}`)
      }
    }
  }

  /** Applies a proposal. Throws OPTIMIZER_CHANGE for one that is none, or is not open any more. */
  async apply(id: number): Promise<OptimizerChange> {
    const tuned = this.#holderOf(id, ({ proposal }) => proposal, "proposed")
    const proposal = tuned.proposal as OptimizerChange
    tuned.proposal = null
    return this.#inForce(tuned, proposal)
  }

  /** Takes back the last change of an upstream. Throws OPTIMIZER_CHANGE for any other. */
  async undo(id: number): Promise<OptimizerChange> {
    const tuned = this.#holderOf(id, ({ last }) => last, "the last change of its upstream")
    return this.#undo(tuned, "as asked")
  }

  report(): OptimizerReport {
    const upstreams = [...this.#tuned.values()].map((tuned): OptimizerRow => tuned.row())
    return { mode: this.#config?.mode ?? "propose", upstreams, made: { ...this.#made }, changes: this.#changes }
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer.handle)
    this.#timer = null
  }

  async #change(tuned: Tuned, { to, reason }: { readonly to: number; readonly reason: string }): Promise<void> {
    const { mode } = this.#config ?? { mode: "propose" }
    // A proposal stays the one it is while it goes the right way: somebody may be about to apply it.
    const open = tuned.proposal
    if (mode === "propose" && open !== null && open.to > open.from === to > tuned.limit) return
    const id = ++this.#lastId
    const at = this.#options.now()
    const change: OptimizerChange = { id, at, upstream: tuned.name, from: tuned.limit, to, reason, state: "proposed" }
    if (mode === "apply") {
      this.#settle(tuned.proposal, "dropped")
      tuned.proposal = null
      this.#remember(change)
      await this.#inForce(tuned, change)
    } else this.#propose(tuned, change)
  }

  #propose(tuned: Tuned, change: OptimizerChange | null): void {
    this.#settle(tuned.proposal, "dropped")
    tuned.proposal = change
    if (change === null) return
    this.#remember(change)
    this.#made.proposed++
    this.#say(change, `proposes ${change.to} instead of ${change.from} (change ${change.id})`)
  }

  async #inForce(tuned: Tuned, change: OptimizerChange): Promise<OptimizerChange> {
    const undo = tuned.try(change)
    try {
      await this.#options.apply()
    } catch (error) {
      undo()
      this.#settle(change, "dropped")
      throw error
    }
    this.#say(change, `${change.from} became ${change.to} (change ${change.id})`)
    return this.#settle(change, "applied")
  }

  async #undo(tuned: Tuned, reason: string): Promise<OptimizerChange> {
    const change = this.#settle(tuned.takeBack(), "undone")
    this.#say({ ...change, reason }, `is ${change.from} again instead of ${change.to} (change ${change.id})`)
    await this.#options.apply()
    return change
  }

  #holderOf(id: number, which: (tuned: Tuned) => OptimizerChange | null, what: string): Tuned {
    const found = [...this.#tuned.values()].find((tuned) => which(tuned)?.id === id)
    if (found !== undefined) return found
    const known = this.#changes.find((change) => change.id === id)
    const is = known === undefined ? "is not known" : `is ${known.state} and not ${what}`
    throw new TidegateError("OPTIMIZER_CHANGE", `change ${id} ${is}`, { hint: "see: tidegate optimizer" })
  }

  #remember(change: OptimizerChange): void {
    this.#changes = [...this.#changes, change].slice(-KEPT)
  }

  #settle<C extends OptimizerChange | null>(change: C, state: OptimizerChange["state"]): C {
    if (change === null) return change
    const settled = { ...change, state, at: this.#options.now() }
    this.#made[state]++
    this.#changes = this.#changes.map((known) => (known.id === change.id ? settled : known))
    return settled
  }

  #say({ upstream, reason }: OptimizerChange, what: string): void {
    this.#options.log(`optimizer: maxRequests of upstream ${upstream} ${what}: ${reason}`)
  }
}
