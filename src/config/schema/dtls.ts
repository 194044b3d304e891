/** `dtls` of a udp listener: pre-shared keys, certificates, connection ids. */
import Type from "typebox"
import { Exact, OneOrMany, Secret } from "./values.ts"

const PskSchema = Exact({
  identity: Type.String({
    minLength: 1,
    maxLength: 256,
    description: "whose key it is; * stands for any run of characters, the longest pattern wins",
  }),
  key: Secret,
  derived: Type.Optional(
    Type.Boolean({ description: "each identity has the HMAC-SHA-256 of it under this key as its own, default false" }),
  ),
})

export const DtlsSchema = Exact({
  psk: Type.Optional(Type.Array(PskSchema, { minItems: 1, description: "keys: text, or hex: and digits" })),
  askForKey: Type.Optional(
    Type.Boolean({ description: "broker.hooks.onPsk is asked for the keys that psk lacks, default false" }),
  ),
  cert: Type.Optional(Type.String({ minLength: 1, description: "PEM file of the chain, the own certificate first" })),
  key: Type.Optional(Type.String({ minLength: 1, description: "goes with cert" })),
  clientAuth: Type.Optional(
    Exact({
      ca: Type.Unsafe<string | string[]>({ ...OneOrMany, description: "PEM files of whom certificates are believed" }),
      crl: Type.Optional(
        Type.Unsafe<string | string[]>({ ...OneOrMany, description: "PEM files of revocation lists" }),
      ),
      mode: Type.Optional(Type.Enum(["require", "request"], { description: "default require" })),
    }),
  ),
  connectionId: Type.Optional(
    Type.Boolean({ description: "clients may go on from another address (RFC 9146), default true" }),
  ),
})
