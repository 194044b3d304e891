/** `oscore` of a listener: security contexts of CoAP (RFC 8613), over datagrams or streams. */
import Type from "typebox"
import { Exact, Secret } from "./values.ts"

const Id = (description: string) => Type.String({ pattern: "^(?:[0-9A-Fa-f]{2}){0,7}$", description })

export const OscoreSchema = Type.Array(
  Exact({
    name: Type.String({ minLength: 1, maxLength: 256, description: "the user that its peer is for topics" }),
    masterSecret: Secret,
    masterSalt: Type.Optional(Type.String({ description: "text, or hex: and digits; default empty" })),
    senderId: Id("the gateway's id, hexadecimal digits, 7 bytes at most"),
    recipientId: Id("the device's id, hexadecimal digits; empty is an id"),
    idContext: Type.Optional(
      Type.String({ pattern: "^(?:[0-9A-Fa-f]{2}){1,255}$", description: "tells contexts of the same ids apart" }),
    ),
    replayWindow: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 64, description: "numbers that may still come late, default 32" }),
    ),
  }),
  { description: "security contexts; needs a data directory, which keeps their sequence numbers" },
)
