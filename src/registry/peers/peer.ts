/** What a store that several gateways share is: entries by key, the newest of each wins, and news of changes. */
import type { NormalizedRegistry } from "../../config/index.ts"

/** The state of one instance. */
export interface PeerEntry {
  /** `service/id`. */
  readonly key: string
  /** Milliseconds since 1970 of the change; an entry never gives way to an older one. */
  readonly at: number
  /** The instance as JSON; null: it is gone. */
  readonly document: string | null
}

export interface PeerSession {
  all(): Promise<readonly PeerEntry[]>
  write(entries: readonly PeerEntry[]): Promise<void>
  /** What has changed, by whomever; throws when the connection is lost. */
  changes(): AsyncIterable<readonly PeerEntry[]>
  /** Forgets what has been gone for longer. */
  forget(before: number): Promise<void>
  close(): Promise<void>
}

/** Connects; throws when the server does not answer. */
export type OpenPeer = (registry: NormalizedRegistry, signal: AbortSignal) => Promise<PeerSession>
