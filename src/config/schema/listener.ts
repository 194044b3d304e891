/** `listeners` and `admin`: where the gateway can be reached. */
import Type from "typebox"
import { DtlsSchema } from "./dtls.ts"
import { OscoreSchema } from "./oscore.ts"
import { AdminTlsSchema, ServerTlsSchema } from "./tls.ts"
import { Exact, Secret } from "./values.ts"

const protocols = ["http1", "http2", "websocket", "mqtt", "coap", "coap-tcp", "tls", "dtls", "oscore"] as const

export const ListenerSchema = Exact({
  address: Type.String({
    description: "tcp://HOST:PORT or udp://HOST:PORT; IPv6 in brackets; port 0: any free one, also several times",
  }),
  protocols: Type.Optional(
    Type.Union([Type.Literal("detect"), Type.Array(Type.Enum([...protocols]), { minItems: 1 })], {
      description: "default detect",
    }),
  ),
  anonymous: Type.Optional(
    Type.Boolean({ description: "clients without credentials may come in; must be said where it is not loopback" }),
  ),
  proxyProtocolFrom: Type.Optional(
    Type.Array(Type.String(), { description: "CIDRs that send a PROXY protocol header" }),
  ),
  trustedProxies: Type.Optional(Type.Array(Type.String(), { description: "CIDRs whose X-Forwarded-* is kept" })),
  unknownTo: Type.Optional(Type.String({ description: "HOST:PORT that unknown openings are spliced to" })),
  dtls: Type.Optional(DtlsSchema),
  oscore: Type.Optional(OscoreSchema),
  tls: Type.Optional(Type.Union([Type.Literal(false, { description: "none here" }), ServerTlsSchema])),
})

export const AdminSchema = Type.Union([
  Type.Literal(false),
  Exact({
    address: Type.Optional(Type.String({ description: "HOST:PORT, default 127.0.0.1:7001" })),
    token: Type.Optional(Secret),
    readToken: Type.Optional(Secret),
    readers: Type.Optional(
      Type.Array(Type.String(), { description: "common names of certificates that may look, not change" }),
    ),
    tls: Type.Optional(AdminTlsSchema),
    hosts: Type.Optional(Type.Array(Type.String(), { description: "further Host names that are accepted" })),
  }),
])
