/** ipHash: the same source network goes to the same endpoint. */
import Type from "typebox"
import { options, strategy } from "./strategy.ts"

export const ipHashStrategy = strategy({
  name: "ipHash",
  options: options({
    prefixV4: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 32, description: "bits of an IPv4 address that count; default 32" }),
    ),
    prefixV6: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 128, description: "bits of an IPv6 address that count; default 64" }),
    ),
  }),
  toPlan: ({ prefixV4 = 32, prefixV6 = 64 }) => ({ strategy: "ipHash", prefixV4, prefixV6 }),
})
