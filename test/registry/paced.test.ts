/** Work that follows changes: at once in quiet times, seldom in busy ones, and the last change never forgotten. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { ServiceRegistry } from "../../src/registry/index.ts"
import { Paced } from "../../src/registry/paced.ts"

function busy(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test("what is quick is done for each call, at once", (t) => {
  let done = 0
  // By a clock that stands still: a busy machine makes anything slow.
  const work = (): void => {
    done++
  }
  const paced = new Paced(work, () => 0)
  paced.call()
  t.is(done, 1)
  for (let call = 0; call < 10; call++) paced.call()
  t.is(done, 11)
})

test("what takes time is done at once, then once for all calls meanwhile", async (t) => {
  let done = 0
  const paced = new Paced(() => {
    done++
    busy(5)
  })
  for (let call = 0; call < 100; call++) paced.call()
  t.is(done, 1)
  // Node lets a process end that has nothing but such a timer.
  for (const end = Date.now() + 5_000; done < 2 && Date.now() < end; ) await sleep(5)
  t.is(done, 2)
  await sleep(100)
  t.is(done, 2, "nothing was asked for since")
})

test("work that is under way is done again for what came meanwhile, whether it fails or not", async (t) => {
  let done = 0
  const paced = new Paced(async () => {
    done++
    await sleep(1)
    return Promise.reject(new Error("no"))
  })
  paced.call()
  paced.call()
  paced.call()
  for (const end = Date.now() + 5_000; done < 2 && Date.now() < end; ) await sleep(5)
  t.is(done, 2)
})

test("a call that throws is not the last one", (t) => {
  const paced = new Paced(() => {
    throw new Error("no")
  })
  t.throws(() => paced.call())
  t.throws(() => paced.call())
})

test("nothing is done after the close", async (t) => {
  let done = 0
  const paced = new Paced(() => {
    done++
    busy(2)
  })
  paced.call()
  paced.call()
  paced.close()
  paced.call()
  await sleep(60)
  t.is(done, 1)
})

test("followers of a service share one snapshot, and each sees the last state", async (t) => {
  const registry = new ServiceRegistry(":memory:")
  const [first, second]: [unknown[], unknown[]] = [[], []]
  const stop = registry.follow("api", (snapshot) => first.push(snapshot))
  registry.follow("api", (snapshot) => second.push(snapshot))
  for (let id = 0; id < 500; id++) registry.put("api", `${id}`, { host: "127.0.0.1", port: 9_000 })
  registry.put("other", "a", { host: "127.0.0.1", port: 9_000 })
  const isThere = (): boolean => (second.at(-1) as { instances: unknown[] }).instances.length === 500
  for (const end = Date.now() + 5_000; !isThere() && Date.now() < end; ) await sleep(5)
  t.true(isThere())
  t.deepEqual(new Set(first), new Set(second))
  stop()
  const told = first.length
  registry.remove("api", "0")
  await sleep(20)
  t.is(first.length, told)
  registry.close()
})
