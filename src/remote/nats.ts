/** A bucket of NATS' key-value store (JetStream). Needs the packages @nats-io/transport-node and @nats-io/kv. */
import type { KV } from "@nats-io/kv"
import { optional } from "./optional.ts"

export interface NatsServer {
  /** `nats://HOST:PORT`, several by commas. */
  readonly servers: string
  readonly bucket: string
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
}

export interface NatsBucket {
  readonly kv: KV
  close(): Promise<void>
}

/** Connects, and creates the bucket where there is none; throws when the server does not answer within 5 s. */
export async function openBucket(
  { servers, bucket, user, password, token }: NatsServer,
  wantedBy: string,
): Promise<NatsBucket> {
  const { connect } = await optional("@nats-io/transport-node", wantedBy, () => import("@nats-io/transport-node"))
  const { Kvm } = await optional("@nats-io/kv", wantedBy, () => import("@nats-io/kv"))
  const connection = await connect({
    servers: servers.split(","),
    name: "tidegate",
    timeout: 5_000,
    // Whoever follows begins anew, with a growing wait.
    reconnect: false,
    ...(user !== null && { user, pass: password ?? "" }),
    ...(token !== null && { token }),
  })
  try {
    const kv = await new Kvm(connection).create(bucket)
    return { kv, close: () => connection.close() }
  } catch (error) {
    await connection.close()
    throw error
  }
}
