/** tidegate mqtt: sessions, retained messages and packets of a running gateway. */
import type { Command } from "commander"
import type { MqttTraceLine } from "../model/mqtt-trace.ts"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson } from "./output.ts"
import { formatTable } from "./table.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
}

type Row = Readonly<Record<string, unknown>>

export function addMqtt(program: Command): void {
  const mqtt = program.command("mqtt").description("sessions and retained messages")
  example(mqtt, "tidegate mqtt clients", "tidegate mqtt retained 'plant/#'")
  list(mqtt.command("clients").description("sessions"), () => "/v1/mqtt/clients")
  list(
    mqtt.command("retained").description("retained messages").argument("[filter]", "topic filter", "#"),
    (filter) => {
      return `/v1/mqtt/retained?filter=${encodeURIComponent(filter)}`
    },
  )
  const client = withAdmin(mqtt.command("client").description("one session").argument("<id>"))
  example(client, "tidegate mqtt client sensor-1").action(async (id: string, options: Options) => {
    printJson(await (await AdminClient.open(options)).call(`/v1/mqtt/clients/${encodeURIComponent(id)}`))
  })
  const kick = withAdmin(mqtt.command("kick").description("end a client's session and connection").argument("<id>"))
  example(kick, "tidegate mqtt kick sensor-1").action(async (id: string, options: Options) => {
    await (await AdminClient.open(options)).call(`/v1/mqtt/clients/${encodeURIComponent(id)}`, { method: "DELETE" })
    print(`${id} is disconnected`)
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

function list(command: Command, toPath: (argument: string) => string): void {
  example(withAdmin(command), `tidegate mqtt ${command.name()}`).action(async (...given: unknown[]) => {
    const options = command.opts<Options>()
    const client = await AdminClient.open(options)
    const { items } = (await client.call(toPath(String(given[0])))) as { items: readonly Row[] }
    if (options.json) return printJson({ items })
    const headings = [...new Set(items.flatMap((item) => Object.keys(item)))]
    print(
      items.length === 0
        ? "none"
        : formatTable(
            headings,
            items.map((item) => headings.map((heading) => item[heading])),
          ),
    )
  })
}
