// Twenty threads with a gateway each, every one terminated while traffic runs.
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { keepBusy } from "./traffic.mjs"

async function live() {
  const thread = new Worker(new URL("./thread.mjs", import.meta.url))
  const [port] = await once(thread, "message")
  await keepBusy(port)
  await thread.terminate()
}

// Five at a time: every one starts while others are torn down.
let left = 20
const work = async () => {
  while (left-- > 0) await live()
}
await Promise.all(Array.from({ length: 5 }, work))
process.stdout.write("all twenty are gone\n")
process.exit(0)
