/** The resource directory (RFC 9176), with libcoap's client and with aiocoap as the device that registers. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { hasAiocoap, python } from "./aiocoap/python.ts"
import { has, type Running, run, runGateway, start } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running

ava.before(async () => {
  gateway = await runGateway({
    coap: { maxRegistrations: 4 },
    upstreams: { lamps: { protocol: "coap", service: "lamp" } },
    routes: [{ when: { path: "/lamp/{rest}" }, to: "lamps", use: [{ rewrite: { path: "/{rest}" } }] }],
  })
})
ava.after.always(() => gateway?.stop())

interface Item {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly protocol: string
  readonly zone: string | null
  readonly metadata: Record<string, string>
  readonly ttlSeconds: number
}
const instances = async (service: string): Promise<Item[]> => {
  const answer = await fetch(`${gateway.admin}/v1/services/${service}/instances`)
  return ((await answer.json()) as { items: Item[] }).items
}
/** The instances of a service once there are so many. */
const settled = async (service: string, count: number): Promise<Item[]> => {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) {
    const items = await instances(service)
    if (items.length === count) return items
  }
  return instances(service)
}

if (has("coap-client-notls", "libcoap3-bin")) {
  const url = (path: string): string => `coap://127.0.0.1:${gateway.udpPort}${path}`
  const coap = async (path: string, ...args: string[]): Promise<string> =>
    (await run("coap-client-notls", ["-B", "4", ...args, url(path)])).out.trim()
  const post = (path: string, links = ""): Promise<string> =>
    coap(path, "-m", "post", "-t", "40", "-v", "7", ...(links === "" ? [] : ["-e", links]))
  const location = (out: string): string => /Location-Path:rd, Location-Path:([0-9a-f]{8})/.exec(out)?.[1] ?? "none"

  test("is found where RFC 9176 says", async (t) => {
    t.is(await coap("/.well-known/core?rt=core.rd"), '</rd>;rt="core.rd";ct="40"')
    t.regex(await coap("/.well-known/core?rt=core.rd-lookup*"), /<\/rd-lookup\/ep>.*<\/rd-lookup\/res>/)
  })

  test("an endpoint registers, is looked up, updates and leaves, and the registry follows", async (t) => {
    const id = location(
      await post("/rd?ep=node1&d=floor&lt=60&et=lamp&x=y", '</light>;rt="light";if="a b",</t>;rt=temp'),
    )
    const [item] = await settled("lamp", 1)
    t.is(item?.id, "node1:floor")
    t.deepEqual([item?.host, item?.protocol, item?.zone, item?.ttlSeconds], ["127.0.0.1", "coap", "floor", 60])
    t.deepEqual([item?.metadata.x, item?.metadata.registration], ["y", `/rd/${id}`])
    t.regex(
      await coap("/rd-lookup/ep?et=lamp"),
      new RegExp(`^</rd/${id}>;ep="node1";d="floor";base="coap://127.0.0.1:`),
    )
    t.is(await coap("/rd-lookup/res?rt=light&href=/t"), "")
    t.regex(await coap("/rd-lookup/res?if=b&ep=node1"), /^<coap:\/\/127\.0\.0\.1:\d+\/light>;rt="light";if="a b"$/)
    await post(`/rd/${id}?base=coap://127.0.0.9:99&lt=70`)
    t.regex(await coap("/rd-lookup/res?rt=temp"), /^<coap:\/\/127\.0\.0\.9:99\/t>;rt=temp$/)
    for (const end = Date.now() + 5_000; Date.now() < end && (await instances("lamp"))[0]?.port !== 99; )
      await sleep(20)
    t.deepEqual([(await instances("lamp"))[0]?.host, (await instances("lamp"))[0]?.port], ["127.0.0.9", 99])
    t.regex(await coap(`/rd/${id}`, "-m", "delete", "-v", "7"), /c:2\.02/)
    t.regex(await coap(`/rd/${id}`, "-m", "delete"), /4\.04/)
    t.deepEqual(await settled("lamp", 0), [])
  })

  test("what is wrong is refused by its code, and the directory has its bound", async (t) => {
    t.regex(await post("/rd?lt=60", "</a>"), /c:4\.00/)
    t.regex(await post("/rd?ep=a&lt=0", "</a>"), /c:4\.00/)
    t.regex(await post("/rd?ep=a&base=no", "</a>"), /c:4\.00/)
    t.regex(await post("/rd?ep=a", "no links"), /c:4\.00/)
    t.regex(await coap("/rd?ep=a", "-m", "post", "-t", "50", "-e", "{}", "-v", "7"), /c:4\.15/)
    t.regex(await coap("/rd-lookup/ep?page=1"), /4\.00/)
    t.regex(await coap("/rd-lookup/ep", "-A", "50"), /4\.06/)
    t.regex(await coap("/rd"), /4\.05/)
    for (const name of ["a", "b", "c", "d"]) t.regex(await post(`/rd?ep=${name}&lt=3600`, `</${name}>`), /c:2\.01/)
    t.regex(await post("/rd?ep=e", "</e>"), /c:5\.03/)
    t.regex(await coap("/rd-lookup/ep?page=1&count=3"), /^<\/rd\/[0-9a-f]{8}>;ep="[a-d]"[^,]*$/)
    t.regex(await (await fetch(`${gateway.admin}/metrics`)).text(), /reason="coap-directory-full"} 1/)
  })

  test("who observes a lookup is told what comes and what goes when its time is up", async (t) => {
    const first = location(await post("/rd?ep=a&lt=3600", "</a>"))
    const observer = start("coap-client-notls", ["-s", "8", "-B", "9", url("/rd-lookup/ep?et=brief")])
    t.teardown(() => observer.child.kill())
    await sleep(300)
    await post(`/rd/${first}?et=brief&lt=2`)
    t.true(await observer.saw(/ep="a"/), observer.out())
    t.deepEqual((await settled("brief", 1)).length, 1)
    const before = observer.out().length
    t.deepEqual(await settled("brief", 0), [])
    t.is(observer.out().slice(before).replaceAll(/\s/g, ""), "", "an empty document")
    t.is(await coap("/rd-lookup/ep?et=brief"), "")
  })
}

if (hasAiocoap()) {
  test("aiocoap registers, is asked through the gateway, registers simply and leaves", async (t) => {
    const other = await runGateway({
      upstreams: { thermometers: { protocol: "coap", service: "thermometer" } },
      routes: [{ when: { path: "/temp" }, to: "thermometers" }],
    })
    const device = python("endpoint.py", [`coap://127.0.0.1:${other.udpPort}`, "aio"])
    t.teardown(async () => {
      device.child.kill()
      await other.stop()
    })
    t.true(await device.tell("", /ready/), device.out())
    t.true(await device.tell("register", /state registered/), device.out())
    const temperature = async (): Promise<string> => (await fetch(`http://127.0.0.1:${other.port}/temp`)).text()
    let text = ""
    for (const end = Date.now() + 8_000; Date.now() < end && text !== "21.5"; await sleep(50))
      text = await temperature()
    t.is(text, "21.5")
    t.true(await device.tell("simple", /simple 2\.04/), device.out())
    const found = await run("coap-client-notls", [
      "-B",
      "4",
      `coap://127.0.0.1:${other.udpPort}/rd-lookup/res?ep=aio-simply&rt=temperature`,
    ])
    t.regex(found.out, /<coap:\/\/127\.0\.0\.1:\d+\/temp>;.*rt="?temperature/)
    t.true(await device.tell("leave", /left/), device.out())
    const rest = await run("coap-client-notls", [
      "-B",
      "4",
      `coap://127.0.0.1:${other.udpPort}/rd-lookup/ep?et=thermometer`,
    ])
    t.is(rest.out.trim(), "")
  })
}
