/** What a balancing strategy is on this side: its options' schema and its plan data. Rust has a file of the same name. */
import Type, { type Static, type TObject } from "typebox"
import type { BalancePlan } from "../native/index.ts"

export interface Strategy<O extends TObject = TObject> {
  readonly name: BalancePlan["strategy"]
  readonly options: O
  readonly toPlan: (options: Static<O>) => BalancePlan
}

/** Keeps the schema's type while it is declared. */
export function strategy<O extends TObject>(definition: Strategy<O>): Strategy<O> {
  return definition
}

/** An object that refuses keys it does not know. */
export function options<P extends Parameters<typeof Type.Object>[0]>(properties: P) {
  return Type.Object(properties, { additionalProperties: false })
}
