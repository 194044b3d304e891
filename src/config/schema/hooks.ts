/** The schema of `broker.hooks`: which policies are asked about clients and their messages. */
import Type, { type Static } from "typebox"
import { StepSchema } from "./route.ts"
import { Exact } from "./values.ts"

const uses = (description: string) => Type.Optional(Type.Array(StepSchema, { maxItems: 32, description }))

export const HooksSchema = Exact({
  onConnect: uses("a CONNECT, before anybody asks who it is"),
  onAuthenticate: uses("who a client is; where no policy knows, auth does"),
  onPsk: uses("the key of a client of DTLS whom dtls.psk does not name, where dtls.askForKey says so"),
  onAuthorize: uses("each publish and subscription, besides the rules of auth.acl"),
  onPublish: uses("each publish of any protocol, before its routes"),
  onSubscribe: uses("each subscription"),
  onDeliver: uses("each message on its way to a subscriber"),
  onDisconnect: uses("a client that has left; nobody waits for the verdict"),
})

export type HooksData = Static<typeof HooksSchema>
