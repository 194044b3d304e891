/** tidegate services: the registry of a running gateway. */
import { type Command, InvalidArgumentError } from "commander"
import { TidegateError } from "../errors.ts"
import type { Instance } from "../model/service.ts"
import { AdminClient, type AdminOptions } from "./admin-client.ts"
import { example, withAdmin } from "./options.ts"
import { print, printJson, printRows } from "./output.ts"

interface Options extends AdminOptions {
  readonly json?: boolean
  readonly weight?: number
  readonly ttl?: number
  readonly zone?: string
}

export function addServices(program: Command): void {
  const services = program.command("services").description("registered services")
  example(services, "tidegate services list", "tidegate services drain api a1")
  const listing = withAdmin(
    services.command("list").description("services, or the instances of one").argument("[service]"),
  )
  example(listing, "tidegate services list", "tidegate services list api").action(list)
  const registering = services
    .command("register")
    .description("register an instance")
    .argument("<service>")
    .argument("<id>")
    .argument("<host:port>")
  registering
    .option("--weight <n>", "1 to 1000", number)
    .option("--ttl <seconds>", "forgotten without a heartbeat", number)
    .option("--zone <zone>", "where it runs, for upstreams that prefer near ones")
  example(withAdmin(registering), "tidegate services register api a1 127.0.0.1:9000 --ttl 30").action(register)
  const draining = withAdmin(
    services.command("drain").description("no new requests").argument("<service>").argument("<id>"),
  )
  example(draining, "tidegate services drain api a1").action((service: string, id: string, options: Options) => {
    return change({ service, id, options, call: { method: "PATCH", body: { status: "draining" } } })
  })
  const removing = withAdmin(
    services.command("remove").description("forget an instance").argument("<service>").argument("<id>"),
  )
  example(removing, "tidegate services remove api a1").action((service: string, id: string, options: Options) => {
    return change({ service, id, options, call: { method: "DELETE" } })
  })
}

async function list(service: string | undefined, options: Options): Promise<void> {
  const client = await AdminClient.open(options)
  if (service === undefined) {
    const { items } = (await client.call("/v1/services")) as {
      items: readonly { name: string; instances: number; healthy: number }[]
    }
    if (options.json) return printJson({ items })
    return printRows(
      ["SERVICE", "INSTANCES", "HEALTHY"],
      items.map(({ name, instances, healthy }) => [name, instances, healthy]),
    )
  }
  const { items } = (await client.call(`/v1/services/${encodeURIComponent(service)}/instances`)) as {
    items: readonly Instance[]
  }
  if (options.json) return printJson({ items })
  const rows = items.map(({ id, host, port, weight, status, lastHeartbeatAt }) => [
    id,
    `${host}:${port}`,
    weight,
    status,
    lastHeartbeatAt,
  ])
  printRows(["ID", "ADDRESS", "WEIGHT", "STATUS", "LAST HEARTBEAT"], rows)
}

async function register(service: string, id: string, address: string, options: Options): Promise<void> {
  const { parseHostPort } = await import("../config/index.ts")
  const parsed = parseHostPort(address)
  if (parsed === null) throw new TidegateError("ADDRESS_INVALID", `"${address}" is not HOST:PORT`)
  const { weight, ttl, zone } = options
  const more = {
    ...(weight !== undefined && { weight }),
    ...(ttl !== undefined && { ttlSeconds: ttl }),
    ...(zone && { zone }),
  }
  await change({ service, id, options, call: { method: "PUT", body: { ...parsed, ...more } } })
}

/** What bounds it has says the gateway. */
function number(text: string): number {
  const value = Number(text)
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It is no number.")
  return value
}

interface Change {
  readonly service: string
  readonly id: string
  readonly options: Options
  readonly call: { readonly method: string; readonly body?: unknown }
}

async function change({ service, id, options, call }: Change): Promise<void> {
  const client = await AdminClient.open(options)
  const answer = await client.call(
    `/v1/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(id)}`,
    call,
  )
  if (options.json) return printJson(answer)
  const status = answer === null ? "gone" : (answer as Instance).status
  // Nobody has asked it yet.
  print(`${service}/${id}: ${status === "unknown" ? "registered" : status}`)
}
