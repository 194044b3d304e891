/** Tidegate's verdict on every request of the corpus (lines 1 to 9, 13 and 14 of the defence list). */
import ava from "ava"
import { type Running, runGateway } from "../e2e/run-gateway.ts"
import { type Case, each, loadCorpus, verdictOf } from "./corpus.ts"
import { type Origin, startOrigin } from "./origin.ts"

let gateway: Running
let origin: Origin

ava.before(async () => {
  origin = await startOrigin()
  gateway = await runGateway({
    upstreams: { origin: { endpoints: [`127.0.0.1:${origin.port}`] } },
    routes: [{ when: { path: "/**" }, to: "origin" }],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.stop()
})

const corpus = loadCorpus()

/** Quiet is a matter of the machine: what differs is asked again with more patience. */
async function verdict({ request, tidegate }: Case): Promise<string> {
  const first = await verdictOf(gateway.port, request, 400)
  return first === tidegate ? first : verdictOf(gateway.port, request, 2_500)
}

ava("has at least 300 requests, each with its reason", (t) => {
  t.true(corpus.length >= 300)
  t.deepEqual(
    corpus.filter(({ why, tidegate }) => !why || !tidegate).map(({ name }) => name),
    [],
  )
})

for (const group of new Set(corpus.map((entry) => entry.group))) {
  ava.serial(`reads every hostile request as it is written down: ${group}`, async (t) => {
    const cases = corpus.filter((entry) => entry.group === group)
    const verdicts = await each(cases, 16, verdict)
    const found = cases.map((entry, index) => `${entry.name}: ${verdicts[index]}`)
    t.deepEqual(
      found,
      cases.map(({ name, tidegate }) => `${name}: ${tidegate}`),
    )
  })
}

ava.serial("nothing that was smuggled reached the origin as a request of its own", async (t) => {
  origin.taken()
  const refused = corpus.filter(({ tidegate }) => /^refused|^closed/.test(tidegate))
  const hostile = refused.filter(({ request }) => /\/smuggled/.test(request))
  await each(hostile, 16, ({ request }) => verdictOf(gateway.port, request, 400))
  t.true(hostile.length >= 5)
  t.notRegex(origin.taken(), /^GET \/smuggled/m)
})
