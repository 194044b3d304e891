/** Observing through routes: libcoap's server and one made here, watched by libcoap, by aiocoap and by plain datagrams. */
import { type ChildProcess, spawn } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { hasAiocoap, python } from "./aiocoap/python.ts"
import { freeUdpPort, type Observable, observable, Watcher } from "./observable.ts"
import { has, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let one: Observable
let two: Observable
let server: ChildProcess | undefined

ava.before(async () => {
  one = await observable("one")
  two = await observable("two")
  const libcoap = await freeUdpPort()
  server = spawn("coap-server-notls", ["-A", "127.0.0.1", "-p", String(libcoap), "-d", "100"])
  server.on("error", () => {})
  const upstream = (endpoints: string[], more: object = {}): object => ({ protocol: "coap", endpoints, ...more })
  gateway = await runGateway({
    workers: 1,
    coap: { ackTimeoutMs: 200, maxRetransmit: 2, maxUpstreamObservations: 4 },
    upstreams: {
      one: upstream([one.address]),
      both: upstream([one.address, two.address], { health: { coap: true, intervalMs: 100, fall: 1, rise: 1 } }),
      libcoap: upstream([`127.0.0.1:${libcoap}`]),
    },
    routes: [
      { when: { path: "/one/{rest}" }, to: "one" },
      { when: { path: "/both/{rest}" }, to: "both" },
      { when: { path: "/lib/{rest}" }, to: "libcoap", use: [{ rewrite: { path: "/{rest}" } }] },
    ],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  server?.kill()
  one?.close()
  two?.close()
})

const watch = (path: string): Promise<Watcher> => Watcher.begin(gateway.udpPort, path)

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  return [...text.matchAll(/^(\S+) (\d+)$/gm)]
    .filter(([, own]) => own?.startsWith(name))
    .reduce((sum, [, , value]) => sum + Number(value), 0)
}

async function until(holds: () => boolean | Promise<boolean>, forMs = 10_000): Promise<boolean> {
  for (const end = Date.now() + forMs; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

// RFC7641-5-1
test("two observers of one resource are one at its endpoint, and are told each state", async (t) => {
  const [first, second] = [await watch("/one/shared"), await watch("/one/shared")]
  t.deepEqual([first.states, second.states], [["one 0"], ["one 0"]])
  t.is(one.registrations("one/shared"), 1)
  for (const [state, expected] of ["a", "b", "c"].entries()) {
    one.change("one/shared", expected)
    t.true(await until(() => first.states.length === state + 2 && second.states.length === state + 2))
  }
  t.deepEqual(first.states, ["one 0", "a", "b", "c"])
  t.deepEqual(second.states, first.states)
  t.is(await metric("tidegate_coap_upstream_observations"), 1)
  first.deregister()
  second.forget()
  // RFC 7641 section 3.6: the one said so, the other answers with a Reset.
  one.change("one/shared", "d")
  t.true(await until(() => one.observers("one/shared") === 0), "cancelled behind the last observer")
  t.true(await until(async () => (await metric("tidegate_coap_upstream_observations")) === 0))
})

// RFC7959-2.6-1
test("a state of many blocks arrives whole", async (t) => {
  const watcher = await watch("/one/large")
  for (const letter of ["x", "y"]) {
    const state = letter.repeat(5_000)
    one.change("one/large", state)
    t.true(await until(() => watcher.states.at(-1) === state), `${watcher.states.at(-1)?.length}`)
  }
  watcher.deregister()
})

// RFC7641-3.3.1-1
test("what is not fresh any more is registered again, and the observer sees what it missed", async (t) => {
  const watcher = await watch("/one/quiet")
  one.change("one/quiet", "missed", { silent: true })
  // Its Max-Age is 1 s; behind it 5 to 15 s (RFC 7641 section 3.3.1).
  t.true(await until(() => watcher.states.at(-1) === "missed", 20_000))
  t.is(one.registrations("one/quiet"), 2)
  watcher.deregister()
})

// RFC7641-4.2-1
test("an error ends the observation and is told", async (t) => {
  const watcher = await watch("/one/error")
  one.fail("one/error", "4.04")
  t.true(await until(() => watcher.codes.at(-1) === "4.04"))
  t.true(await until(async () => (await metric("tidegate_coap_upstream_observations")) === 0))
})

test("beyond the bound a request is answered without Observe, and counted", async (t) => {
  const watchers = await Promise.all([1, 2, 3, 4, 5].map((number) => watch(`/one/bound${number}`)))
  t.is(watchers.filter((watcher) => watcher.isObserving).length, 4)
  t.is(await metric('tidegate_dropped_total{protocol="coap",reason="coap-relays-full"}'), 1)
  for (const watcher of watchers) watcher.deregister()
  t.true(await until(async () => (await metric("tidegate_coap_upstream_observations")) === 0))
})

test("an observation moves to another endpoint when its own is gone, and comes to an end with the last", async (t) => {
  const watcher = await watch("/both/moving")
  const [own, other] = one.observers("both/moving") === 1 ? [one, two] : [two, one]
  own.close()
  t.true(await until(() => other.observers("both/moving") === 1), "registered at the other one")
  t.true(await until(() => watcher.states.at(-1) === `${other.name} 0`))
  other.change("both/moving", "on")
  t.true(await until(() => watcher.states.at(-1) === "on"))
  other.close()
  // Nothing tells that the last one is gone but its silence when it is asked again.
  other.change("both/moving", "unheard", { silent: true })
  t.true(await until(() => watcher.codes.at(-1)?.startsWith("5.0") === true, 40_000), String(watcher.codes))
  t.is(await metric('tidegate_dropped_total{protocol="coap",reason="coap-relay-ended"}'), 2)
})

if (has("coap-client-notls", "libcoap3-bin") && has("coap-server-notls", "libcoap3-bin")) {
  test("libcoap's client observes libcoap's server", async (t) => {
    const url = `coap://127.0.0.1:${gateway.udpPort}/lib/time`
    const client = spawn("coap-client-notls", ["-s", "4", url])
    let out = ""
    client.stdout.on("data", (data) => {
      out += data
    })
    t.true(await until(() => new Set(out.match(/\d\d:\d\d:\d\d/g)).size >= 3), out)
    client.kill()
  })

  test("libcoap's client observes libcoap's server over TCP", async (t) => {
    const client = spawn("coap-client-notls", ["-s", "4", `coap+tcp://127.0.0.1:${gateway.port}/lib/time`])
    let out = ""
    client.stdout.on("data", (data) => {
      out += data
    })
    t.true(await until(() => new Set(out.match(/\d\d:\d\d:\d\d/g)).size >= 3), out)
    client.kill()
  })
}

if (hasAiocoap() && has("coap-server-notls", "libcoap3-bin")) {
  test("aiocoap observes what another client changes at libcoap's server, large states too", async (t) => {
    const client = python("client.py", [`coap://127.0.0.1:${gateway.udpPort}`])
    t.teardown(() => {
      client.child.kill()
    })
    t.true(await client.tell("", /ready/), client.out())
    t.true(await client.tell("PUT /lib/example_data small", /small: 2\.0/), client.out())
    t.true(await client.tell("observe /lib/example_data", /observed 2\.05 Content small/), client.out())
    t.true(await client.tell("PUT /lib/example_data other", /observed 2\.05 Content other/), client.out())
    t.true(await client.tell("large /lib/example_data", /observed 2\.05 Content (0123456789){300}/), client.out())
  })
}
