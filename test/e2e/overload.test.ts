/** Overload: limits that are learnt, requests that are turned away, slow ones that cost no other. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { exchange, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let server: Server
let gateway: Running
const held = new Set<Socket>()
/** One after the other, 20 ms each: a service that queues. */
let line: Promise<unknown> = Promise.resolve()

ava.before(async () => {
  server = createServer((socket) => {
    held.add(socket)
    socket.on("error", () => {})
    socket.on("data", (data) => {
      if (data.toString().includes("/never")) return
      const answer = (): void => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      if (!data.toString().includes("/queued")) return answer()
      line = line.then(() => sleep(20)).then(answer)
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const endpoints = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
  gateway = await runGateway({
    workers: 1,
    upstreams: {
      learnt: { endpoints, adaptive: { initial: 16, min: 1, max: 64 } },
      slow: { endpoints, maxRequests: 20 },
      fast: { endpoints },
    },
    routes: [
      { when: { path: "/queued" }, to: "learnt" },
      { when: { path: "/never" }, to: "slow" },
      { when: { path: "/**" }, to: "fast" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  for (const socket of held) socket.destroy()
  server?.close()
})

const get = (path: string, until = /ok$|\n$/): Promise<string> =>
  exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, until)
const limit = async (): Promise<number> =>
  Number(
    /tidegate_upstream_concurrency_limit\{upstream="learnt"\} (\d+)/.exec(
      await (await fetch(`${gateway.admin}/metrics`)).text(),
    )?.[1],
  )

test("adaptive: a service that queues is given fewer requests at once, the rest is 503 at once", async (t) => {
  t.is(await limit(), 16)
  const answers: string[] = []
  // On a busy machine it takes a while until enough of them are under way at once.
  for (const end = Date.now() + 15_000; Date.now() < end && (await limit()) >= 16; ) {
    answers.push(...(await Promise.all(Array.from({ length: 16 }, () => get("/queued")))))
  }
  t.true((await limit()) < 16, String(await limit()))
  t.true(answers.filter((answer) => answer.startsWith("HTTP/1.1 200")).length >= 16)
  t.true(answers.every((answer) => /^HTTP\/1.1 (200|503) /.test(answer)))
})

test("an upstream that answers nothing, and clients that read and send nothing, cost no other", async (t) => {
  const stuck = Array.from({ length: 40 }, () => connect(gateway.port, "127.0.0.1"))
  for (const [index, socket] of stuck.entries()) {
    socket.on("error", () => {})
    socket.pause()
    socket.write(
      index % 2 === 0
        ? "GET /never HTTP/1.1\r\nHost: a\r\n\r\n"
        : "POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    )
  }
  await sleep(100)
  t.regex(await get("/never"), /^HTTP\/1.1 503 /)
  const took: number[] = []
  for (let count = 0; count < 50; count++) {
    const started = Date.now()
    t.regex(await get("/x"), /^HTTP\/1.1 200 /)
    took.push(Date.now() - started)
  }
  t.true((took.sort((a, b) => a - b)[45] ?? 0) < 1_000, took.join(" "))
  for (const socket of stuck) socket.destroy()
})

test("above its bound of memory the gateway turns requests away, says so, and goes on when told another", async (t) => {
  const routes = [{ when: { path: "/**" }, to: { respond: { body: "fine" } } }]
  const small = await runGateway({ workers: 1, limits: { shedMemoryBytes: 1_000_000 }, routes })
  t.teardown(() => small.stop())
  const ask = (): Promise<string> => exchange(small.port, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", /\n$|fine$/)
  await sleep(300)
  const refused = await ask()
  t.regex(refused, /^HTTP\/1.1 503 [\s\S]*retry-after: 1\r\n/)
  t.regex(refused, /details="OM"/)
  t.regex(await (await fetch(`${small.admin}/metrics`)).text(), /tidegate_dropped_total\{[^}]*reason="shed"[^}]*\} 1/)
  small.configure({ workers: 1, limits: {}, routes })
  for (const end = Date.now() + 5_000; Date.now() < end && !/ 200 /.test(await ask()); ) await sleep(100)
  t.regex(await ask(), /^HTTP\/1.1 200 /)
})
