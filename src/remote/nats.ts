/** NATS, and buckets of its key-value store (JetStream). Needs the packages @nats-io/transport-node and @nats-io/kv. */
import type { KV } from "@nats-io/kv"
import type { NatsConnection } from "@nats-io/transport-node"
import { optional } from "./optional.ts"

export interface NatsServer {
  /** `nats://HOST:PORT`, several by commas. */
  readonly servers: string
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
}

export interface NatsBucket {
  readonly kv: KV
  close(): Promise<void>
}

/** Throws when the server does not answer within 5 s. */
export async function connectNats(
  { servers, user, password, token }: NatsServer,
  wantedBy: string,
): Promise<NatsConnection> {
  const { connect } = await optional("@nats-io/transport-node", wantedBy, () => import("@nats-io/transport-node"))
  return connect({
    servers: servers.split(","),
    name: "tidegate",
    timeout: 5_000,
    // Whoever follows begins anew, with a growing wait.
    reconnect: false,
    ...(user !== null && { user, pass: password ?? "" }),
    ...(token !== null && { token }),
  })
}

/** Connects, and creates the bucket where there is none. */
export async function openBucket(
  server: NatsServer & { readonly bucket: string },
  wantedBy: string,
): Promise<NatsBucket> {
  const { Kvm } = await optional("@nats-io/kv", wantedBy, () => import("@nats-io/kv"))
  const connection = await connectNats(server, wantedBy)
  try {
    const kv = await new Kvm(connection).create(server.bucket)
    return { kv, close: () => connection.close() }
  } catch (error) {
    await connection.close()
    throw error
  }
}
