/** All alerts of a gateway: looks at the metrics once a second, and says what changed. */
import { type NormalizedAlert, nearest } from "../config/index.ts"
import { METRICS, type Sample } from "../metrics/index.ts"
import { type AlertOutlets, type AlertReport, act } from "./actions.ts"
import { Meter } from "./meter.ts"
import { type AlertState, step } from "./rule.ts"

const LOOK_MS = 1_000

interface Watched {
  readonly alert: NormalizedAlert
  readonly meter: Meter
  state: AlertState
}

export interface AlertRow extends AlertState {
  readonly name: string
  readonly metric: string
}

export interface AlertBoardOptions extends AlertOutlets {
  readonly scrape: () => readonly Sample[]
  /** Every change, besides its actions. */
  readonly changed: (report: AlertReport) => void
}

export class AlertBoard {
  readonly #options: AlertBoardOptions
  #watched: readonly Watched[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(options: AlertBoardOptions) {
    this.#options = options
  }

  /** Takes over the alerts of a configuration; one that stays the same keeps its state. */
  use(alerts: readonly NormalizedAlert[], now = Date.now()): void {
    for (const { name, metric } of alerts) {
      if (Object.hasOwn(METRICS, metric)) continue
      const meant = nearest(metric, Object.keys(METRICS))
      this.#options.log(
        40,
        `alert ${name}: no metric ${metric} is known${meant === null ? "" : `; did you mean ${meant}?`}`,
      )
    }
    const known = new Map(this.#watched.map((watched) => [JSON.stringify(watched.alert), watched]))
    this.#watched = alerts.map((alert) => {
      const quiet: AlertState = { state: "quiet", since: now, value: null }
      return known.get(JSON.stringify(alert)) ?? { alert, meter: new Meter(alert), state: quiet }
    })
    if (alerts.length === 0) this.close()
    // Nothing is scraped for alerts that are not there.
    else this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref()
  }

  look(now = Date.now()): void {
    const samples = this.#options.scrape()
    for (const watched of this.#watched) {
      const { alert, meter } = watched
      const { state, change } = step(alert, watched.state, meter.read(samples, now), now)
      watched.state = state
      if (change === null) continue
      const { name, metric, labels, above, below } = alert
      const report: AlertReport = { name, state: change, metric, labels, value: state.value, above, below, at: now }
      this.#options.changed(report)
      act(alert, report, this.#options)
    }
  }

  rows(): readonly AlertRow[] {
    return this.#watched.map(({ alert: { name, metric }, state }) => ({ name, metric, ...state }))
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }
}
