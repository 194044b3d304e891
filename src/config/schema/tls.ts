/** `tls`: of listeners, who the gateway is and whom it believes; of upstreams, the same from the other side. */
import Type from "typebox"
import { Exact, OneOrMany } from "./values.ts"

const File = (description: string) => Type.String({ minLength: 1, description })

const PAIR = {
  cert: File("PEM file of the chain, the own certificate first"),
  key: File("PEM file of its private key"),
}

const MinVersion = Type.Optional(Type.Enum(["1.2", "1.3"], { description: "oldest version spoken, default 1.2" }))

const ClientAuthSchema = Exact({
  ca: Type.Unsafe<string | string[]>({ ...OneOrMany, description: "PEM files of whom certificates are believed from" }),
  crl: Type.Optional(Type.Unsafe<string | string[]>({ ...OneOrMany, description: "PEM files of revocation lists" })),
  mode: Type.Optional(
    Type.Enum(["require", "request"], { description: "default require; request: a certificate may be shown" }),
  ),
  user: Type.Optional(
    Type.Enum(["commonName", "subject", "dns", "mail", "uri", "fingerprint"], {
      description: "what of a certificate is the user's name; default: it names none",
    }),
  ),
})

export const ServerTlsSchema = Exact({
  cert: Type.Optional(File("short for one entry of certificates")),
  key: Type.Optional(File("goes with cert")),
  certificates: Type.Optional(
    Type.Array(Exact(PAIR), { minItems: 1, description: "chosen by server name; the first one where none fits" }),
  ),
  minVersion: MinVersion,
  clientAuth: Type.Optional(ClientAuthSchema),
  sessionTickets: Type.Optional(Type.Boolean({ description: "whether sessions are resumed, default true" })),
  alpn: Type.Optional(
    Type.Array(Type.Enum(["h2", "http/1.1", "mqtt", "coap"]), { minItems: 1, description: "in order of preference" }),
  ),
})

/** Of the admin API, which speaks HTTP/1.1 under one name. */
export const AdminTlsSchema = Exact({
  ...PAIR,
  minVersion: MinVersion,
  clientAuth: Type.Optional(ClientAuthSchema),
})

export const ClientTlsSchema = Type.Union([
  Type.Literal(true, { description: "the system's trust, the endpoint's name" }),
  Exact({
    ca: Type.Optional(
      Type.Unsafe<string | string[]>({ ...OneOrMany, description: "PEM files; default: the system's" }),
    ),
    serverName: Type.Optional(Type.String({ minLength: 1, description: "asked for and verified; default: the host" })),
    cert: Type.Optional(File("PEM file of the chain that is shown where one is asked for")),
    key: Type.Optional(File("goes with cert")),
    verify: Type.Optional(Type.Boolean({ description: "default true; false: encryption without proof" })),
    minVersion: MinVersion,
  }),
])
