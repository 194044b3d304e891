/**
 * The test kit: decide a policy without a gateway, a whole gateway with fake devices and a clock
 * that can be set ahead, and a native side that needs no addon. Exports only what tests of users need.
 */
import type { ConfigInput } from "./config/index.ts"
import { TidegateError } from "./errors.ts"
import type { GatewayOptions } from "./gateway/index.ts"
import { type AnyPolicy, fieldsOf, policyOf } from "./policy/index.ts"
import { createPolicyMessage, payloadOf, toVerdictRecord, type VerdictRecord } from "./runner/index.ts"
import { TestGateway } from "./testkit/index.ts"

export { FakeNative } from "./native/index.ts"
export type { VerdictRecord } from "./runner/index.ts"
export * from "./testkit/index.ts"

/**
 * A gateway with this configuration on free loopback ports, one worker, nothing on disk, no admin API, unless the configuration
 * says otherwise. `await using gateway = await testGateway({ ... })` closes it.
 */
export function testGateway(config: ConfigInput = {}, options: GatewayOptions = {}): Promise<TestGateway> {
  return TestGateway.start(config, options)
}

/** The fields of the message a policy is tried on; what is not given is absent. */
export interface TestMessage {
  readonly protocol?: string
  readonly method?: string
  readonly host?: string
  readonly path?: string
  readonly topic?: string
  readonly clientId?: string
  readonly contentType?: string
  readonly user?: string
  readonly source?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly cookies?: Readonly<Record<string, string>>
  /** What the broker's hooks know: `{ hook: "connect", username: "ann" }`. */
  readonly attributes?: Readonly<Record<string, string>>
  readonly payload?: string | Uint8Array
}

/** The record that native receives, and the payload that goes beside it. */
export type TestVerdict = VerdictRecord & { readonly payload?: Buffer }

/**
 * What a use of a policy, `tenant({ header: "x-a" })`, decides on a message, as the
 * record that native receives. Throws what would count as an error there: the policy's
 * own exception, POLICY_VERDICT_INVALID, or POLICY_FIELD_NOT_DECLARED.
 */
export async function decide(use: object, message: TestMessage = {}): Promise<TestVerdict> {
  const policy = policyOf(use)
  if (policy === null) throw new TidegateError("POLICY_INVALID", "this is no use of a policy; call the policy first")
  const options = optionsOf(use, policy)
  const reads = fieldsOf(policy, options)
  const values = reads.map(({ field, name }) => textOf(message, field, name))
  const payload = message.payload === undefined ? null : Buffer.from(message.payload as Uint8Array)
  const verdict = await policy.decide(
    createPolicyMessage(reads, values, () => payload),
    options,
  )
  const replaced = payloadOf(verdict, reads)
  return { ...toVerdictRecord(verdict), ...(replaced === null ? {} : { payload: replaced }) }
}

function optionsOf(use: object, { name }: AnyPolicy): Readonly<Record<string, unknown>> {
  return typeof use === "function" ? {} : ((use as Record<string, Readonly<Record<string, unknown>>>)[name] ?? {})
}

function textOf(message: TestMessage, field: string, name: string | null): string | null {
  if (name === null) {
    const given = (message as unknown as Readonly<Record<string, unknown>>)[field] ?? message.attributes?.[field]
    return typeof given === "string" ? given : null
  }
  const { headers = {}, query = {}, cookies = {} } = message
  if (field === "query") return query[name] ?? null
  if (field === "cookie") return cookies[name] ?? null
  return Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1] ?? null
}
