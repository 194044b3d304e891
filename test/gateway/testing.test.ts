/** The policy test kit. */
import test from "ava"
import { byHeader, definePolicy } from "../../src/index.ts"
import { decide } from "../../src/testing.ts"

const tenant = definePolicy<{ header?: string }>({
  name: "tenant",
  reads: ({ header = "x-tenant" }) => [byHeader(header)],
  decide: (message, { header = "x-tenant" }) => ({
    hashKey: message.header(header),
    setHeaders: { "x-path": message.path ?? "" },
  }),
})

test("a policy can be tried on a message without a gateway", async (t) => {
  const verdict = await decide(tenant({ header: "X-Org" }), { path: "/a", headers: { "X-ORG": "acme" } })
  t.deepEqual(verdict, { action: "continue", hashKey: "acme", setHeaders: [["x-path", "/a"]] })
})

test("what would be an error in the gateway is thrown", async (t) => {
  const undeclared = definePolicy({ name: "undeclared", decide: (message) => ({ hashKey: message.cookie("a") }) })
  await t.throwsAsync(decide(undeclared()), { code: "POLICY_FIELD_NOT_DECLARED" })
  await t.throwsAsync(decide(definePolicy({ name: "rubbish", decide: () => 5 as never })()), {
    code: "POLICY_VERDICT_INVALID",
  })
  await t.throwsAsync(decide({}), { code: "POLICY_INVALID" })
})
