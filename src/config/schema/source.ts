/** `services.<name>`: a list of instances, or where they are found. */
import Type from "typebox"
import { Exact, Secret } from "./values.ts"

const Url = Type.String({ pattern: "^https?://", description: "http:// or https://" })

/** Exactly one of them says where. */
export const SOURCE_KINDS = ["dns", "srv", "file", "http", "consul", "etcd", "kubernetes", "registry"] as const

export const SourceSchema = Exact({
  dns: Type.Optional(Type.String({ minLength: 1, description: "NAME:PORT; each address is an instance" })),
  srv: Type.Optional(Type.String({ minLength: 1, description: "name of SRV records, _http._tcp.api.example" })),
  resolver: Type.Optional(Type.String({ description: "ADDRESS:PORT of the DNS server; default the system's" })),
  file: Type.Optional(Type.String({ minLength: 1, description: "YAML or JSON list, watched" })),
  http: Type.Optional(Url),
  consul: Type.Optional(
    Exact({
      url: Url,
      service: Type.Optional(Type.String({ minLength: 1, description: "default the service's name here" })),
      tag: Type.Optional(Type.String({ minLength: 1 })),
      token: Type.Optional(Secret),
    }),
  ),
  etcd: Type.Optional(
    Exact({
      url: Url,
      prefix: Type.String({ minLength: 1, description: "each key below it holds one instance as JSON" }),
    }),
  ),
  kubernetes: Type.Optional(
    Exact({
      service: Type.Optional(Type.String({ minLength: 1, description: "default the service's name here" })),
      namespace: Type.Optional(Type.String({ minLength: 1, description: "default the pod's, else default" })),
      port: Type.Optional(Type.String({ minLength: 1, description: "name of the port; default the first" })),
      url: Type.Optional(Url),
      token: Type.Optional(Secret),
    }),
  ),
  registry: Type.Optional(Type.String({ minLength: 1, description: "name of a defineRegistry" })),
  intervalMs: Type.Optional(
    Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 10_000,
      description: "between two looks where nothing tells of changes, and between tries; dns: at most",
    }),
  ),
})
