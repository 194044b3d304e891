/**
 * Random clients over real sockets against a model of the specification: nothing acknowledged is lost, QoS 2 comes once,
 * order holds, and every delivery is accounted for. A seed repeats its acts; `long.ts` runs many.
 */
import test from "ava"
import { counted, start } from "../mqtt/raw.ts"
import { World } from "./world.ts"

for (const seed of [1, 2, 3]) {
  test(`what random clients of seed ${seed} were promised is kept`, async (t) => {
    const target = await start(t, { broker: { maxQueued: 100_000 } })
    const account = await new World(seed, target.port).run(20)
    t.deepEqual(account.faults.slice(0, 10), [])
    t.true(account.published > 300 && account.delivered > 300 && account.drops > 10, JSON.stringify(account))
    const deliveries = (outcome: string) => counted(target, "tidegate_deliveries_total", { outcome })
    const open = () => deliveries("matched") - deliveries("delivered") - counted(target, "tidegate_queued_messages")
    t.is(open(), counted(target, "tidegate_dropped_total"), "matched = delivered + queued + dropped")
  })
}
