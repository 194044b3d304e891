/** tidegate mqtt: sessions, retained messages and packets of a running gateway. */
import type { Command } from "commander"
import type { MqttTraceLine } from "../model/mqtt-trace.ts"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson, printRows } from "./output.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
}

type Row = Readonly<Record<string, unknown>>

interface Page {
  readonly items: readonly Row[]
  readonly nextCursor?: string | null
}

export function addMqtt(program: Command): void {
  const mqtt = program.command("mqtt").description("sessions and retained messages")
  example(mqtt, "tidegate mqtt clients", "tidegate mqtt retained 'plant/#'")
  list(mqtt.command("clients").description("sessions"), CLIENT_COLUMNS, () => "/v1/mqtt/clients?limit=1000")
  list(
    mqtt.command("retained").description("retained messages").argument("[filter]", "topic filter", "#"),
    RETAINED_COLUMNS,
    (filter) => `/v1/mqtt/retained?filter=${encodeURIComponent(filter)}`,
  )
  const client = withAdmin(mqtt.command("client").description("one session").argument("<id>"))
  example(client, "tidegate mqtt client sensor-1").action(async (id: string, options: Options) => {
    printJson(await (await AdminClient.open(options)).call(`/v1/mqtt/clients/${encodeURIComponent(id)}`))
  })
  const kick = withAdmin(mqtt.command("kick").description("end a client's session and connection").argument("<id>"))
  example(kick, "tidegate mqtt kick sensor-1").action(async (id: string, options: Options) => {
    await (await AdminClient.open(options)).call(`/v1/mqtt/clients/${encodeURIComponent(id)}`, { method: "DELETE" })
    if (options.json) printJson({ clientId: id, connected: false })
    else print(`${id} is disconnected`)
  })
  addTrace(mqtt)
}

interface TraceOptions extends Options {
  readonly client?: string
  readonly topic?: string
}

function addTrace(mqtt: Command): void {
  const trace = withAdmin(mqtt.command("trace").description("packets as they come and go, until interrupted"))
    .option("--client <id>", "of this client")
    .option("--topic <filter>", "publishes and subscriptions of these topics")
  example(trace, "tidegate mqtt trace --client sensor-1", "tidegate mqtt trace --topic 'plant/#' --json").action(
    async ({ client, topic, ...options }: TraceOptions) => {
      const query = new URLSearchParams({ ...(client && { client }), ...(topic && { topic }) })
      const admin = await AdminClient.open(options)
      for await (const line of admin.events(`/v1/mqtt/trace?${query}`)) {
        if (options.json) print(JSON.stringify(line))
        else print(formatLine(line as MqttTraceLine))
      }
    },
  )
}

function formatLine({ time, direction, clientId, packet, topic, qos, packetId, bytes, reason }: MqttTraceLine): string {
  const details = [
    topic,
    qos !== null && `qos ${qos}`,
    packetId !== null && `id ${packetId}`,
    bytes !== null && `${bytes} B`,
  ]
  const shown = [...details, reason].filter((part) => part !== null && part !== false)
  return [new Date(time).toISOString(), direction, clientId ?? "-", packet, ...shown].join("  ")
}

type Columns = Readonly<Record<string, (item: Row) => unknown>>

const CLIENT_COLUMNS: Columns = {
  CLIENT: ({ clientId }) => clientId,
  CONNECTED: ({ connected }) => (connected ? "yes" : "no"),
  USER: ({ user }) => user,
  PEER: ({ connection }) => (connection as Row | null)?.peer,
  SUBSCRIPTIONS: ({ subscriptions }) =>
    shortened((subscriptions as readonly Row[]).map(({ filter }) => filter).join(" ")),
  QUEUED: ({ queued }) => queued,
  "IN FLIGHT": ({ inflight }) => inflight,
  DROPPED: ({ dropped }) => dropped,
  "LAST ERROR": ({ lastError }) => lastError,
}

const RETAINED_COLUMNS: Columns = {
  TOPIC: ({ topic }) => topic,
  QOS: ({ qos }) => qos,
  BYTES: ({ bytes }) => bytes,
  "CONTENT TYPE": ({ contentType }) => contentType,
  "EXPIRES IN": ({ expiresInSeconds }) => (expiresInSeconds === null ? null : `${expiresInSeconds} s`),
  PAYLOAD: ({ text, payload }) => shortened(String(text ?? payload)),
}

/** Of a cell that may be long. */
const SHOWN = 60

const shortened = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text)

/** All pages of a list. */
function list(command: Command, columns: Columns, toPath: (argument: string) => string): void {
  example(withAdmin(command), `tidegate mqtt ${command.name()}`).action(async (...given: unknown[]) => {
    const options = command.opts<Options>()
    const client = await AdminClient.open(options)
    const path = toPath(String(given[0]))
    const items: Row[] = []
    let cursor: string | null | undefined
    do {
      const page = (await client.call(cursor ? `${path}&cursor=${encodeURIComponent(cursor)}` : path)) as Page
      items.push(...page.items)
      cursor = page.nextCursor
    } while (cursor)
    if (options.json) return printJson({ items })
    const rows = items.map((item) => Object.values(columns).map((cell) => cell(item)))
    printRows(Object.keys(columns), rows)
  })
}
