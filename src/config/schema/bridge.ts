/** The schema of `bridges`: topics to and from another broker. */
import Type from "typebox"
import { Exact, Secret } from "./values.ts"

const prefix = (text: string) => Type.Optional(Type.String({ pattern: "^[^+#]*$", default: "", description: text }))

const Topics = Exact({
  topic: Type.String({ minLength: 1, description: "topic filter, without the prefix of its side" }),
  qos: Type.Optional(Type.Integer({ minimum: 0, maximum: 2, default: 1 })),
  localPrefix: prefix("in front of the topic here"),
  remotePrefix: prefix("in front of the topic there"),
})

const Login = { username: Type.Optional(Type.String()), password: Type.Optional(Secret) }

const body = {
  to: Type.String({ pattern: "^(mqtts?|wss?)://[^/?#]+.*$", description: "the other broker, mqtt://host:port" }),
  clientId: Type.Optional(Type.String({ minLength: 1, description: "there; default: the bridge's name" })),
  ...Login,
  tls: Type.Optional(
    Exact({
      ca: Type.Optional(Type.String({ minLength: 1, description: "file; default: the authorities of Node" })),
      cert: Type.Optional(Type.String({ minLength: 1, description: "file of the bridge's own certificate" })),
      key: Type.Optional(Type.String({ minLength: 1, description: "file" })),
      serverName: Type.Optional(Type.String({ minLength: 1, description: "default: the host of `to`" })),
    }),
  ),
  local: Type.Optional(Exact(Login, "the user of the bridge here, where users are asked for")),
  out: Type.Optional(Type.Array(Topics, { description: "from here to there" })),
  in: Type.Optional(Type.Array(Topics, { description: "from there to here" })),
}

const name = { name: Type.String({ pattern: "^[A-Za-z0-9_.-]{1,64}$" }) }

/** By name, or a list with names. */
export const BridgesSchema = Type.Union([
  Type.Record(Type.String(), Exact(body)),
  Type.Array(Exact({ ...name, ...body })),
])
