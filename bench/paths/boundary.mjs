// Crossing between JavaScript and Rust: what one call costs, and what one event costs
// through shared memory.
import { createGateway } from "../../dist/index.js"
import { createEventRing, EventRingReader } from "../../dist/native/event-ring.js"
import { writeEvent } from "../../dist/native/fake-ring.js"

export const title = "boundary: one crossing"

const EVENTS = 1_000

export async function open() {
  const listeners = [{ address: "tcp://127.0.0.1:0" }]
  const gateway = await createGateway({ workers: 1, dataDir: false, listeners })
  await gateway.start()
  const ring = createEventRing(2_048)
  const reader = new EventRingReader(ring)
  const fill = (text) => {
    for (let event = 0; event < EVENTS; event++) writeEvent(ring, { kind: 1, a: 1, b: 200, c: 0, time: 1, d: 90, text })
  }
  const refill = () => fill("GET /a -")
  let sum = 0
  const read = (take) => reader.drain(EVENTS, take)
  const numbers = ({ b, d }) => {
    sum += b + d
  }
  const withText = ({ b, text }) => {
    sum += b + text.length
  }
  const rows = [
    { name: "synchronous call (weights)", run: () => gateway.native.setWeights("[]") },
    { name: "scrape of all counters", run: () => gateway.native.scrape(0) },
    { name: "asynchronous call (publish)", run: () => gateway.publish("a/b", "21.5") },
    { name: "event read from the ring", operations: EVENTS, run: () => read(numbers), before: refill },
    { name: "the same, with its text", operations: EVENTS, run: () => read(withText), before: refill },
  ]
  return { rows, close: () => gateway.close().then(() => sum) }
}
