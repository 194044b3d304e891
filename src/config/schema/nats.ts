/** How a server of NATS is reached; what is kept or said there comes besides. */
import Type from "typebox"
import { Secret } from "./values.ts"

export const NATS = {
  servers: Type.String({ minLength: 1, description: "HOST:PORT, several by commas" }),
  user: Type.Optional(Type.String()),
  password: Type.Optional(Secret),
  token: Type.Optional(Secret),
}
