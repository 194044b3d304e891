/** node-coap on both sides: as a client of topics and routes, and as the server behind a route, asked by itself and by HTTP. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import {
  Agent,
  type CoapRequestParams,
  createServer,
  type IncomingMessage,
  type ObserveReadStream,
  request,
} from "coap"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const long = "0123456789".repeat(500)

/** A server with values by path, whose changes its observers see. */
function serveValues() {
  const values = new Map<string, Buffer>()
  const watchers = new Map<string, Set<(value: Buffer) => void>>()
  const server = createServer((asked, answer) => {
    const path = asked.url
    if (asked.method === "PUT") {
      values.set(path, asked.payload)
      answer.code = "2.04"
      answer.end()
      for (const tell of watchers.get(path) ?? []) tell(asked.payload)
      return
    }
    const value = values.get(path)
    answer.code = value === undefined ? "4.04" : "2.05"
    if (asked.headers.Observe !== 0 || value === undefined) return void answer.end(value)
    const tell = (state: Buffer): void => void answer.write(state)
    const own = watchers.get(path) ?? new Set()
    watchers.set(path, own.add(tell))
    answer.on("finish", () => own.delete(tell))
    tell(value)
  })
  return { server, values, observers: (path: string) => watchers.get(path)?.size ?? 0 }
}

const upstream = serveValues()
// One of its own it would close between two requests.
const socket = createSocket("udp4")
const agent = new Agent({ socket })
let gateway: Running

ava.before(async () => {
  const port = await new Promise<number>((resolve, reject) => {
    upstream.server.listen(0, "127.0.0.1", (error?: Error) => {
      if (error) return reject(error)
      // @ts-expect-error Its address is nowhere in what it declares.
      resolve(upstream.server._sock.address().port)
    })
  })
  gateway = await runGateway({
    workers: 1,
    upstreams: { own: { protocol: "coap", endpoints: [`127.0.0.1:${port}`] } },
    routes: [{ when: { path: "/own/{rest}" }, to: "own", use: [{ rewrite: { path: "/{rest}" } }] }],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  socket.close()
  upstream.server.close()
})

/** One request, and what is answered. */
async function ask(pathname: string, params: CoapRequestParams = {}, payload?: string): Promise<IncomingMessage> {
  const asked = request({ host: "127.0.0.1", port: gateway.udpPort, pathname, agent, ...params })
  asked.end(payload)
  const [answer] = (await once(asked, "response")) as [IncomingMessage]
  return answer
}
/** What is longer than a block of 1,024 bytes goes in such blocks, if it is told to. */
const put = (pathname: string, payload: string): Promise<IncomingMessage> => {
  const options = payload.length > 1_024 ? { Block1: Buffer.of(6) } : {}
  return ask(pathname, { method: "PUT", options }, payload)
}

/** What is observed, state by state. */
async function observe(pathname: string): Promise<{ states: string[]; stream: ObserveReadStream }> {
  const stream = (await ask(pathname, { observe: true })) as ObserveReadStream
  const states: string[] = []
  stream.on("data", (state: Buffer) => states.push(state.toString()))
  return { states, stream }
}

async function until(holds: () => boolean | Promise<boolean>, forMs = 10_000): Promise<boolean> {
  for (const end = Date.now() + forMs; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

/** The server takes no deregistration for one (RFC 7641 section 3.6): a Reset of its next notification ends it. */
const resetAtNext = (path: string): Promise<boolean> =>
  until(async () => {
    await put(`/own${path}`, "to nobody")
    return upstream.observers(path) === 0
  })

test("a client puts and gets what a topic and a server behind a route hold", async (t) => {
  for (const path of ["/t/value", "/own/value"]) {
    t.is((await ask(path)).code, "4.04", path)
    t.is((await put(path, "21.5")).code, "2.04", path)
    const got = await ask(path)
    t.deepEqual([got.code, got.payload.toString()], ["2.05", "21.5"], path)
  }
  t.is(upstream.values.get("/value")?.toString(), "21.5")
})

test("bodies of many blocks go and come whole", async (t) => {
  for (const path of ["/t/long", "/own/long"]) {
    t.is((await put(path, long)).code, "2.04", path)
    t.is((await ask(path)).payload.toString(), long, path)
  }
  t.is(upstream.values.get("/long")?.toString(), long)
})

test("HTTP reads and writes what the server has, in blocks", async (t) => {
  const url = `http://127.0.0.1:${gateway.port}/own/http`
  for (const body of ["short", long]) {
    t.is((await fetch(url, { method: "PUT", body })).status, 204)
    t.is(upstream.values.get("/http")?.toString(), body)
    const answer = await fetch(url)
    t.deepEqual([answer.status, await answer.text()], [200, body])
  }
})

test("a client observes a topic and a resource of the server, and leaves", async (t) => {
  for (const path of ["/t/seen", "/own/seen"]) {
    await put(path, "first")
    const { states, stream } = await observe(path)
    for (const state of ["second", "third"]) {
      await put(path, state)
      t.true(await until(() => states.at(-1) === state), `${path}: ${states}`)
    }
    t.deepEqual(states, ["first", "second", "third"], path)
    stream.close(true)
  }
  t.true(await resetAtNext("/seen"), "the server is told that nobody is there")
  const observers = /^tidegate_coap_upstream_observations (\d+)$/m
  const metrics = async (): Promise<string> => (await fetch(`${gateway.admin}/metrics`)).text()
  t.true(await until(async () => observers.exec(await metrics())?.[1] === "0"))
})

test("two clients share one observation of the server", async (t) => {
  await put("/own/shared", "0")
  const one = await observe("/own/shared")
  const two = await observe("/own/shared")
  t.is(upstream.observers("/shared"), 1)
  await put("/own/shared", "1")
  t.true(await until(() => one.states.at(-1) === "1" && two.states.at(-1) === "1"), `${one.states} ${two.states}`)
  one.stream.close(true)
  two.stream.close(true)
  t.true(await resetAtNext("/shared"))
})
