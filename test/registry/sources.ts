/**
 * Servers that the sources of services ask. Real are the file, HTTP, DNS over UDP and etcd;
 * Consul and Kubernetes are those of `small-servers.ts`.
 */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RegistryInstance } from "../../src/index.ts"
import { etcdPut, etcdServer, Web } from "./servers.ts"
import { consul, kubernetes } from "./small-servers.ts"

/** A server of instances that can be told what it has, and that it is away. */
export interface World {
  /** `services.<name>` of the configuration. */
  readonly source: object
  set(instances: readonly RegistryInstance[]): Promise<void> | void
  fail(): Promise<void> | void
  mend(): Promise<void> | void
  close(): Promise<void> | void
}

export async function fileWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-source-"))
  const file = join(folder, "instances.yaml")
  let last = "[]"
  const write = (text: string): void => {
    last = text
    writeFileSync(file, text)
  }
  write(last)
  return {
    source: { file },
    set: (instances) => write(JSON.stringify(instances)),
    fail: () => writeFileSync(file, "no: list\n"),
    mend: () => writeFileSync(file, last),
    close: () => {
      unlinkSync(file)
      rmSync(folder, { recursive: true })
    },
  }
}

export async function httpWorld(): Promise<World & { readonly unchanged: () => number }> {
  let [body, version, unchanged] = ["[]", 0, 0]
  const web = await Web.open((request, response) => {
    const etag = `"${version}"`
    if (request.headers["if-none-match"] === etag) {
      unchanged++
      return response.writeHead(304, { etag }).end()
    }
    return response.writeHead(200, { etag, "content-type": "application/json" }).end(body)
  })
  return {
    source: { http: web.url },
    set: (instances) => {
      version++
      body = JSON.stringify({ items: instances })
    },
    fail: () => web.fail(),
    mend: () => web.mend(),
    close: () => web.fail(),
    unchanged: () => unchanged,
  }
}

/** A DNS server of one A or SRV name (RFC 1035, RFC 2782); SRV targets are `a-b-c-d.addr.test`. */
export async function dnsWorld(kind: "dns" | "srv"): Promise<World> {
  let [instances, isAway]: [readonly RegistryInstance[], boolean] = [[], false]
  const socket = createSocket("udp4")
  socket.on("message", (query, { port, address }) => {
    const { name, type, end } = question(query)
    const answers = isAway ? null : answersOf({ kind, instances, name, type })
    const head = Buffer.from(query.subarray(0, 12))
    // An answer, recursion available; SERVFAIL while it is away, NXDOMAIN for an unknown name.
    head.writeUInt16BE(0x8180 | (isAway ? 2 : answers === null ? 3 : 0), 2)
    head.writeUInt16BE(answers?.length ?? 0, 6)
    head.writeUInt32BE(0, 8)
    socket.send(Buffer.concat([head, query.subarray(12, end), ...(answers ?? [])]), port, address)
  })
  socket.bind(0, "127.0.0.1")
  await once(socket, "listening")
  const resolver = `127.0.0.1:${socket.address().port}`
  const name = kind === "dns" ? { dns: "api.test:9000" } : { srv: "_http._tcp.api.test" }
  return {
    source: { ...name, resolver },
    set: (next) => {
      instances = next
    },
    fail: () => {
      isAway = true
    },
    mend: () => {
      isAway = false
    },
    close: () => void socket.close(),
  }
}

const [A, SRV] = [1, 33]

function question(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join("."), type: query.readUInt16BE(at + 1), end: at + 5 }
}

interface Asked {
  readonly kind: "dns" | "srv"
  readonly instances: readonly RegistryInstance[]
  readonly name: string
  readonly type: number
}

function answersOf({ kind, instances, name, type }: Asked): Buffer[] | null {
  const [, digits] = /^(\d+-\d+-\d+-\d+)\.addr\.test$/.exec(name) ?? []
  if (digits !== undefined) return type === A ? [record(A, addressOf(digits.replaceAll("-", ".")))] : []
  if (kind === "dns" && name === "api.test")
    return type === A ? instances.map(({ host }) => record(A, addressOf(host))) : []
  if (kind !== "srv" || name !== "_http._tcp.api.test") return null
  return type !== SRV ? [] : instances.map(srvRecord)
}

function srvRecord({ host, port, weight = 1 }: RegistryInstance): Buffer {
  const fixed = Buffer.alloc(6)
  fixed.writeUInt16BE(10, 0)
  fixed.writeUInt16BE(weight, 2)
  fixed.writeUInt16BE(port, 4)
  const labels = [host.replaceAll(".", "-"), "addr", "test"].map((label) =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]),
  )
  return record(SRV, Buffer.concat([fixed, ...labels, Buffer.from([0])]))
}

/** The name is that of the question; a second to live. */
function record(type: number, data: Buffer): Buffer {
  const head = Buffer.from([0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 1, 0, data.length])
  return Buffer.concat([head, data])
}

function addressOf(ip: string): Buffer {
  return Buffer.from(ip.split(".").map(Number))
}

/** `/v1/health/service/<name>`. */
export async function consulWorld(): Promise<World> {
  let instances: readonly RegistryInstance[] = []
  const server = await consul(
    ({ pathname, searchParams }) => pathname === "/v1/health/service/api" && searchParams.get("passing") === "1",
    () =>
      instances.map(({ id, host, port, weight, zone, version }) => ({
        Node: { Address: "192.0.2.99", Datacenter: "dc1" },
        Service: { ID: id, Address: host, Port: port, Weights: { Passing: weight ?? 1 }, Meta: { zone, version } },
      })),
  )
  return {
    ...server,
    source: { consul: { url: server.url, token: "secret" } },
    set: (next) => {
      instances = next
      server.changed()
    },
  }
}

/** The EndpointSlice of one service. */
export async function kubernetesWorld(): Promise<World> {
  let instances: readonly RegistryInstance[] = []
  const server = await kubernetes(
    ({ pathname, searchParams }) =>
      pathname === "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" &&
      searchParams.get("labelSelector") === "kubernetes.io/service-name=api",
    () => ({
      ports: [{ name: "metrics", port: 1 }].concat({ name: "http", port: instances[0]?.port ?? 0 }),
      endpoints: [
        ...instances.map(({ id, host, zone }) => ({
          addresses: [host],
          conditions: { ready: true },
          zone,
          targetRef: { kind: "Pod", name: id },
        })),
        { addresses: ["192.0.2.77"], conditions: { ready: false } },
      ],
    }),
  )
  return {
    ...server,
    source: { kubernetes: { url: server.url, token: "secret", namespace: "shop", port: "http" } },
    set: (next) => {
      instances = next
      server.changed()
    },
  }
}

/** A real etcd. */
export async function etcdWorld(): Promise<World> {
  const etcd = await etcdServer()
  let keys: readonly string[] = []
  return {
    ...etcd,
    source: { etcd: { url: etcd.url, prefix: "/services/api/" } },
    set: async (instances) => {
      const next = new Map(instances.map((instance) => [`/services/api/${instance.id}`, JSON.stringify(instance)]))
      for (const [key, value] of next) await etcdPut(etcd.url, key, value)
      for (const key of keys) if (!next.has(key)) await etcdPut(etcd.url, key, null)
      await etcdPut(etcd.url, "/services/apix", "no instance")
      keys = [...next.keys()]
    },
  }
}
