import assert from "node:assert/strict"
import { test } from "node:test"
import { decide, testGateway } from "tidegate/testing"
import config, { alarms, tenant } from "./tidegate.config.ts"

test("a request without a tenant is refused", async () => {
  assert.deepEqual(await decide(tenant()), { action: "reject", status: 400, body: "say x-tenant\n" })
  const { setHeaders } = await decide(tenant(), { headers: { "x-tenant": "acme" } })
  assert.deepEqual(setHeaders, [["x-shard", "a"]])
})

test("the gateway does what the configuration says", async () => {
  const gateway = await testGateway(config)
  try {
    assert.equal((await gateway.http("/shop/a")).status, 400)
    assert.equal((await gateway.http("/shop/a", { headers: { "x-tenant": "acme" } })).status, 200)

    const freezer = await gateway.mqtt("freezer-7")
    await freezer.publish("freezer/7/temp", "-18", { qos: 1 })
    await freezer.publish("freezer/7/temp", "-9", { qos: 1 })
    assert.deepEqual(alarms, ["freezer/7/temp -9"])
  } finally {
    await gateway.close()
  }
})

test("a session ends when its time is up", async () => {
  const gateway = await testGateway(config)
  try {
    const first = await gateway.mqtt({ clientId: "a", properties: { sessionExpiry: 60 } })
    await first.disconnect()
    await gateway.advance(61_000)
    const again = await gateway.mqtt({ clientId: "a", cleanStart: false })
    assert.equal(again.connack.sessionPresent, false)
  } finally {
    await gateway.close()
  }
})
