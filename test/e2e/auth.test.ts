/** Who may do what: one list of users and rules, the same for MQTT, HTTP, JSON frames and CoAP. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import ava from "ava"
import mqtt from "mqtt"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
let gateway: Running

ava.before(async () => {
  const { stdout } = spawnSync(process.execPath, [command, "passwd"], { input: "tide\n", encoding: "utf8" })
  const hash = stdout.trim().split(/\s+/).at(-1) ?? ""
  gateway = await runGateway({
    auth: {
      users: { ann: hash },
      acl: [
        { user: "ann", deny: "all", topic: "secret/#" },
        { user: "ann", allow: "all", topic: "#" },
      ],
    },
  })
})
ava.after.always(() => gateway?.stop())

const url = (): string => `mqtt://127.0.0.1:${gateway.port}`
const http = (path: string): string => `http://127.0.0.1:${gateway.port}${path}`
const ann = { authorization: `Basic ${Buffer.from("ann:tide").toString("base64")}` }

test("MQTT lets in who knows the password, and says why to the others", async (t) => {
  const code = async (options: mqtt.IClientOptions): Promise<number | undefined> => {
    const client = mqtt.connect(url(), { protocolVersion: 5, reconnectPeriod: 0, ...options })
    const refused = new Promise<number | undefined>((resolve) => {
      client.on("connect", (packet) => resolve(packet.reasonCode))
      client.on("error", (error) => resolve((error as { code?: number }).code))
    })
    const result = await refused
    await client.endAsync(true)
    return result
  }
  t.is(await code({ username: "ann", password: "tide" }), 0)
  t.is(await code({ username: "ann", password: "ebb" }), 0x86)
  t.is(await code({ username: "bob", password: "tide" }), 0x86)
  t.is(await code({}), 0x87)
})

test("guesses are compared in turns: they take neither all memory nor the others' time", async (t) => {
  if (process.platform !== "linux") return t.pass("/proc tells of memory")
  const memory = (): number =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.process.pid}/status`, "utf8"))?.[1]) / 1_024
  const before = memory()
  const left = new AbortController()
  const guesses = Array.from({ length: 150 }, async (_, n) => {
    const authorization = `Basic ${Buffer.from(`ann:${n}`).toString("base64")}`
    await fetch(http("/t/free/guess"), { headers: { authorization }, signal: left.signal }).catch(() => undefined)
  })
  let most = 0
  for (const end = Date.now() + 1_500; Date.now() < end; await sleep(20)) most = Math.max(most, memory() - before)
  t.true(most < 20 * (availableParallelism() + 4), `${Math.round(most)} MiB more`)
  left.abort()
  await Promise.all(guesses)
})

test("rules count for publish, subscribe and delivery", async (t) => {
  const client = await mqtt.connectAsync(url(), { protocolVersion: 5, username: "ann", password: "tide" })
  const [granted] = await client.subscribeAsync("free/#", { qos: 1 })
  t.is(granted?.qos, 1)
  const refused = await new Promise<Error | null>((resolve) => {
    client.publish("secret/a", "x", { qos: 1 }, (error) => resolve(error ?? null))
  })
  t.is((refused as { code?: number } | null)?.code, 0x87)
  await t.throwsAsync(async () => {
    const grants = await client.subscribeAsync("secret/#", { qos: 1 })
    if ((grants[0]?.qos ?? 0x80) >= 0x80) throw new Error("refused")
  })
  await client.endAsync()
})

test("HTTP and event streams ask for the same user and hold the same rules", async (t) => {
  const post = (path: string, headers = {}) => fetch(http(path), { method: "POST", body: "1", headers })
  t.is((await post("/t/free/a")).status, 401)
  t.is((await post("/t/free/a", { authorization: `Basic ${Buffer.from("ann:ebb").toString("base64")}` })).status, 401)
  t.is((await post("/t/free/a", ann)).status, 202)
  t.is((await post("/t/secret/a", ann)).status, 403)
  t.is(await (await fetch(http("/t/free/a"), { headers: ann })).text(), "1")
  t.is((await fetch(http("/t/secret/a"), { headers: ann })).status, 403)
  t.is((await fetch(http("/t/secret/a"), { headers: { ...ann, accept: "text/event-stream" } })).status, 403)
})

if (has("coap-client-notls", "libcoap3-bin")) {
  test("CoAP has no user to show, and is told so", async (t) => {
    const target = `coap://127.0.0.1:${gateway.udpPort}/t/free/a`
    t.regex((await run("coap-client-notls", ["-m", "get", target])).out, /4\.01/)
    t.regex((await run("coap-client-notls", ["-m", "post", "-e", "1", target])).out, /4\.01/)
  })
}
