/**
 * What the addon exports, as an interface: the real one and `FakeNative` implement
 * it. Rare control calls with JSON in and out; rings carry what is frequent. A call
 * that fails rejects with `CODE: text`, which `native-errors.ts` turns into a coded error.
 */

/** Options of a native gateway. */
export interface NativeOptions {
  /** Worker threads, 1 to 256. */
  readonly workers: number
  /** `LAYOUT_VERSION` of this side; another one is refused. */
  readonly layoutVersion: number
  /** One per worker, over a `SharedArrayBuffer`, its header already written. */
  readonly eventRings: readonly Uint8Array[]
  /** Where promises to MQTT clients are kept, or null: in memory only. STORE: it cannot be read or written. */
  readonly dataDir: string | null
}

/** One running data plane. */
export interface NativeGateway {
  /** Unique in the process; policy threads attach by it. */
  readonly id: number
  /** The Plan as JSON, not to be written to meanwhile; resolves to an `Applied` as JSON, or rejects and changes nothing. */
  applyPlan(plan: Buffer): Promise<string>
  /** `EndpointWeight[]` as JSON. */
  setWeights(json: string): void
  /** What passed shared limits since the last call: by name, keys and counts. A key's characters are bytes. */
  takeSpent(): string
  /** The same of another gateway. */
  chargeLimits(spentJson: string): void
  /** Removes answers that are kept, of a `{ route, host, path }`; how many. */
  purgeCache(which: string): number
  /** All counters in one crossing; see `metrics/scrape.ts` for the form. */
  scrape(known: number): Buffer
  connections(query: string): Promise<string>
  closeConnection(id: string): Promise<boolean>
  /** Ends a session and its connection (MQTT 5: reason 0x98); false: there is no such client. */
  kickClient(clientId: string): Promise<boolean>
  mqttClients(query: string): Promise<string>
  retained(filter: string): Promise<string>
  explain(query: string): Promise<string>
  /** What is different in CoAP's resource directory since a revision; `DirectoryChanges` as JSON. */
  directory(since: number): Promise<string>
  upstreams(): string
  /** Resolves to the outcome's label. */
  publish(topic: string, payload: Buffer, optionsJson: string): Promise<string>
  /** Messages arrive as event records of kind `message` with the id returned. */
  subscribe(filter: string, qos: number): number
  unsubscribe(id: number): void
  /** `MqttWatch[]` as JSON: packets to show as event records of kind `message` with id 0; none: ends it. */
  trace(watchesJson: string): void
  /** Called once per batch of event records; does not keep the process alive. */
  onWake(callback: () => void): void
  /** `{ delayMs, timeoutMs }` as JSON; resolves when the last connection is gone or the time is up. */
  drain(optionsJson: string): Promise<void>
  /** Stops and joins the worker threads; may be called again. */
  close(): Promise<void>
  /** Sets the clock of the data plane ahead, milliseconds; for tests. */
  advanceClock(ms: number): void
  /** Panics, so that a test sees the error PANIC and a process that goes on. */
  panicForTest(): void
}

/** A policy thread's end of the decision rings. */
export interface PolicyPort {
  /** Tells the worker that answers stand in its ring: one call per batch. */
  kick(worker: number): void
  /** u32le length of the head, the head as JSON, the body. Empty when the request is gone. */
  handlerRequest(worker: number, slot: number, generation: number): Buffer
  handlerReply(worker: number, slot: number, generation: number, headJson: string, body: Buffer): void
  /** The payload of a question; null: nobody waits any more. */
  policyPayload(worker: number, slot: number, generation: number): Buffer | null
  /** A policy's own payload, ahead of its verdict. */
  policyAnswer(worker: number, slot: number, generation: number, payload: Buffer): void
  /** Every upstream with its endpoints, as JSON. */
  upstreams(): string
  /** Lets go of the rings; nothing happens where another thread has taken over already. */
  detach(): void
}

/** The module as it is loaded. */
export interface NativeModule {
  readonly NativeGateway: new (options: NativeOptions) => NativeGateway
  /**
   * One ring for each of `workers`, headers already written; `wake` is called once per batch of requests.
   * Takes over from the thread before of each: what that one has not answered is asked again here.
   */
  attachPolicyThread(
    gatewayId: number,
    rings: readonly Uint8Array[],
    wake: () => void,
    workers: readonly number[],
  ): PolicyPort
  /** argon2id with a random salt, as a PHC string. */
  hashPassword(password: string): Promise<string>
  /** An authority for development: `{ cert, key }` as JSON, PEM. */
  createDevAuthority(name: string): Promise<string>
  /** A certificate that it signs. */
  createDevCertificate(cert: string, key: string, names: string[]): Promise<string>
}

/**
 * The codecs; packets as numbers or JSON, with their fields in a buffer beside them. What is decoded is written into
 * the numbers that are given (u32, as the machine has them), and what is said is how many there are: with more than fit the call is made again. What
 * is encoded is written into `out`, and what is said is how many bytes it is.
 */
export interface NativeCodec {
  /** `version` 0: a CONNECT says it. Numbers where all packets are plain: used bytes, version, five of each. */
  mqttDecode(bytes: Buffer, version: number, maxPacketBytes: number, numbers: Buffer): number | string
  mqttEncode(packetsJson: string, fields: Buffer, version: number): Buffer
  mqttEncodePlain(packets: Uint32Array, fields: Buffer, version: number, out: Buffer): number
  /** Datagrams one behind the other, each up to its end. */
  coapDecode(bytes: Buffer, ends: Uint32Array, numbers: Buffer): number
  /** What is wrong with it. */
  coapProblem(datagram: Buffer): string
  /** Each behind its length, u32le. */
  coapEncode(messages: Uint32Array, fields: Buffer, out: Buffer): number
  /** All whole frames at the front: used bytes, and their numbers; or what is wrong. */
  coapTcpDecode(bytes: Buffer, maxFrameBytes: number, numbers: Buffer): number | string
  coapTcpEncode(messages: Uint32Array, fields: Buffer, out: Buffer): number
}

/** An endpoint in CoAP's resource directory (RFC 9176). */
export interface DirectoryEndpoint {
  readonly endpoint: string
  readonly sector: string | null
  /** Its base URI. */
  readonly base: string
  readonly lifetimeS: number
  /** The path of its registration. */
  readonly address: string
  readonly attributes: Readonly<Record<string, string>>
}

/** What is different in the directory. */
export interface DirectoryChanges {
  readonly revision: number
  /** `put` is all there is. */
  readonly isWhole: boolean
  readonly put: readonly DirectoryEndpoint[]
  readonly removed: readonly Pick<DirectoryEndpoint, "endpoint" | "sector">[]
}

/** What `applyPlan` resolves to. */
export interface Applied {
  readonly version: number
  readonly listeners: readonly BoundListener[]
  readonly problems: readonly { readonly path: string; readonly message: string }[]
}

/** A listener with the port it really got. */
export interface BoundListener {
  readonly name: string
  readonly address: string
}

/** What health and load leave of an endpoint's weight. */
export interface EndpointWeight {
  readonly upstream: string
  readonly endpoint: string
  /** 0 to 1. */
  readonly health: number
  readonly draining: boolean
}
