// What a TypeScript policy costs JavaScript on the decision ring (the question is written by
// JavaScript here as well, which native does in a gateway), by the number of
// requests that wait together; the waking of threads is not part of it.
import { definePolicy } from "../../dist/index.js"
import { FakeNative } from "../../dist/native/index.js"
import { PolicyRunner } from "../../dist/policy/index.js"

export const title = "policy: one decision on the ring, asked and answered by JavaScript"

const READS = [
  { field: "path", name: null },
  { field: "header", name: "x-tenant" },
]
const QUESTION = { kind: 1, index: 0, fields: ["/api/hello", "acme"] }

export async function open() {
  const native = new FakeNative()
  const gateway = new native.NativeGateway({ workers: 1, layoutVersion: 1, eventRings: [] })
  const { definition: policy } = definePolicy({
    name: "tenant",
    decide: (message) => ({ hashKey: message.header("x-tenant") }),
  })
  const runner = new PolicyRunner({ workers: [0], complain: () => {} })
  runner.install([{ planVersion: 1, scripts: [{ policy, options: {}, reads: READS }], handlers: [] }])
  runner.attach(native, gateway.id)
  const message = { header: () => "acme" }
  const rows = [
    { name: "decide() called directly", operations: 64, run: () => repeat(64, () => policy.decide(message, {})) },
    { name: "1 request in flight", run: () => gateway.policy.askAll(1, QUESTION) },
    { name: "64 in flight", operations: 64, run: () => gateway.policy.askAll(64, QUESTION) },
    { name: "512 in flight", operations: 512, run: () => gateway.policy.askAll(512, QUESTION) },
  ]
  return { rows, close: () => runner.detach() }
}

function repeat(times, run) {
  for (let time = 0; time < times; time++) run()
}
