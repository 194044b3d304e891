/** Many seeds of the model, one after the other: `npm run test:model -- --seeds 100 --from 1 --rounds 60`. Exits with 1 where a promise broke. */
import { parseArgs } from "node:util"
import { createGateway } from "../../src/index.ts"
import { World } from "./world.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "50" },
    from: { type: "string", default: "1" },
    rounds: { type: "string", default: "60" },
  },
})
const gateway = await createGateway({
  workers: 2,
  admin: false,
  dataDir: false,
  listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
  broker: { maxQueued: 100_000 },
})
await gateway.start()
const port = Number(new URL(`tcp://${gateway.stats().listeners[0]?.address}`).port)
const from = Number(values.from)
let broken = 0
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  const { faults, published, delivered, drops } = await new World(seed, port).run(Number(values.rounds))
  console.log(`seed ${seed}: ${published} published, ${delivered} delivered, ${drops} connections lost`)
  for (const fault of faults) console.log(`  ${fault}`)
  broken += faults.length
}
await gateway.close()
console.log(broken === 0 ? "every promise was kept" : `${broken} promises were broken`)
process.exit(broken === 0 ? 0 : 1)
