/**
 * One bridge: on each side a client that receives, with a kept session, and one that
 * sends. A message is acknowledged where it came from when the other side has it, so the
 * queue of a broken line is the session's: here on the gateway's own disk. Two clients a
 * side, because one that waits for an acknowledgement would not read the one it waits for.
 */
import { readFileSync } from "node:fs"
import type { IClientOptions, IPublishPacket, MqttClient } from "mqtt"
import type { Bridge, BridgeLogin, BridgeTls, BridgeTopics } from "../model/bridge.ts"

type Mqtt = Pick<typeof import("mqtt"), "connect">
type Side = "localPrefix" | "remotePrefix"

const SESSION_S = 7 * 86_400

/** The user property that a message of a bridge carries; its own does not take the way back. */
const MARK = "tidegate-bridge"

/** Starts it; the call that comes back ends it. */
export function openLink(
  mqtt: Mqtt,
  bridge: Bridge,
  { local, complain }: { readonly local: string; readonly complain: (text: string) => void },
): () => Promise<void> {
  const here = { url: local, id: `bridge-${bridge.name}`, login: bridge.local, tls: {} }
  const there = { url: bridge.to, id: bridge.clientId, login: bridge.remote, tls: secured(bridge.tls) }
  const clients: MqttClient[] = []
  const open = ({ url, id, login, tls }: End, receives: boolean): MqttClient => {
    const client = mqtt.connect(url, { ...options(receives ? id : `${id}-send`, login, receives), ...tls })
    let said = ""
    client.on("error", (error) => {
      // Once for each reason: it is tried again every few seconds.
      const text = `bridge "${bridge.name}", ${url}: ${error.message || String((error as { code?: unknown }).code)}`
      if (text !== said) complain(text)
      said = text
    })
    client.on("connect", () => {
      said = ""
    })
    clients.push(client)
    return client
  }
  const { name } = bridge
  if (bridge.out.length > 0) {
    pass(open(here, true), open(there, false), { name, topics: bridge.out, from: "localPrefix", into: "remotePrefix" })
  }
  if (bridge.in.length > 0) {
    pass(open(there, true), open(here, false), { name, topics: bridge.in, from: "remotePrefix", into: "localPrefix" })
  }
  return async () => {
    await Promise.all(clients.map((client) => client.endAsync(true)))
  }
}

/** One end of a bridge. */
interface End {
  readonly url: string
  readonly id: string
  readonly login: BridgeLogin
  readonly tls: IClientOptions
}

/** Certificates as mqtt.js takes them; who does not prove its name is not spoken to. */
function secured({ ca, cert, key, serverName }: BridgeTls): IClientOptions {
  return {
    rejectUnauthorized: true,
    ...(ca !== null && { ca: readFileSync(ca) }),
    ...(cert !== null && { cert: readFileSync(cert) }),
    ...(key !== null && { key: readFileSync(key) }),
    ...(serverName !== null && { servername: serverName }),
  }
}

function options(clientId: string, { username, password }: BridgeLogin, receives: boolean): IClientOptions {
  return {
    clientId,
    clean: !receives,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: receives ? SESSION_S : 0, receiveMaximum: 100 },
    reconnectPeriod: 1_000 + Math.random() * 1_000,
    resubscribe: false,
    ...(username !== null && { username }),
    ...(password !== null && { password }),
  }
}

interface Way {
  readonly name: string
  readonly topics: readonly BridgeTopics[]
  readonly from: Side
  readonly into: Side
}

/** Takes what `client` receives to `to`, and acknowledges it when it is there. */
function pass(client: MqttClient, to: MqttClient, { name, topics, from, into }: Way): void {
  client.on("connect", () => {
    for (const entry of topics) client.subscribe(entry[from] + entry.topic, { qos: entry.qos, rap: true }, () => {})
  })
  client.handleMessage = (packet, done) => {
    const { topic, payload, qos, retain, properties } = packet as IPublishPacket
    const entry = topics.find((entry) => matches(entry[from] + entry.topic, topic))
    const marks = [properties?.userProperties?.[MARK] ?? []].flat()
    if (entry === undefined || marks.includes(name)) return done()
    const { contentType, responseTopic, correlationData, messageExpiryInterval } = properties ?? {}
    const kept = Object.entries({ contentType, responseTopic, correlationData, messageExpiryInterval })
    const given = Object.fromEntries(kept.filter(([, value]) => value !== undefined))
    const userProperties = { ...properties?.userProperties, [MARK]: [...marks, name] }
    const renamed = entry[into] + topic.slice(entry[from].length)
    const options = { qos: Math.min(qos, entry.qos) as 0 | 1 | 2, retain, properties: { ...given, userProperties } }
    // A refusal is an answer too: it would be refused again.
    to.publish(renamed, payload, options, () => done())
  }
}

/** As MQTT matches (section 4.7). */
export function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split("/"), topic.split("/")]
  for (const [at, level] of wanted.entries()) {
    if (level === "#") return true
    if (at >= levels.length || (level !== "+" && level !== levels[at])) return false
  }
  return wanted.length === levels.length
}
