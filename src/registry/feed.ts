/** Snapshots for those who follow a service: one for all of them, the newest and not each between. */
import type { ServiceSnapshot } from "../model/service.ts"
import { Paced } from "./paced.ts"

export type SnapshotListener = (snapshot: ServiceSnapshot) => void

interface Feed {
  readonly listeners: Set<SnapshotListener>
  readonly paced: Paced
}

export class SnapshotFeeds {
  readonly #feeds = new Map<string, Feed>()
  readonly #snapshot: (service: string) => ServiceSnapshot

  constructor(snapshot: (service: string) => ServiceSnapshot) {
    this.#snapshot = snapshot
  }

  /** Told after changes, at once where few happen; returns the way out. */
  follow(service: string, listener: SnapshotListener): () => void {
    const feed = this.#feeds.get(service) ?? this.#begin(service)
    feed.listeners.add(listener)
    return () => {
      if (!feed.listeners.delete(listener) || feed.listeners.size > 0) return
      feed.paced.close()
      this.#feeds.delete(service)
    }
  }

  changed(service: string): void {
    this.#feeds.get(service)?.paced.call()
  }

  close(): void {
    for (const { paced } of this.#feeds.values()) paced.close()
    this.#feeds.clear()
  }

  #begin(service: string): Feed {
    const listeners = new Set<SnapshotListener>()
    const paced = new Paced(() => {
      const snapshot = this.#snapshot(service)
      for (const listener of listeners) listener(snapshot)
    })
    const feed = { listeners, paced }
    this.#feeds.set(service, feed)
    return feed
  }
}
