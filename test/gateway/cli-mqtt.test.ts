/** `tidegate mqtt` beside a gateway: what a person reads. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

import mqtt from "mqtt"
import { withAddon } from "./with-addon.ts"

const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))

async function run(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "pipe", "inherit"] })
  let out = ""
  child.stdout.on("data", (data) => {
    out += data
  })
  await once(child, "close")
  return out
}

withAddon("sessions and retained messages are tables with one row each, all pages of them", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.yaml")
  writeFileSync(file, 'workers: 2\nadmin: { address: "127.0.0.1:0" }\nlisteners: [{ address: "tcp://127.0.0.1:0" }]\n')
  const gateway = spawn(process.execPath, [command, "run", "--config", file], { stdio: ["ignore", "pipe", "inherit"] })
  t.teardown(() => {
    gateway.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  })
  const [line] = (await once(gateway.stdout, "data")) as [Buffer]
  const [, address = "", admin = ""] = /^listening tcp:\/\/(\S+) admin (\S+)/.exec(String(line)) ?? []
  const client = await mqtt.connectAsync(`mqtt://${address}`, { clientId: "sensor-1", protocolVersion: 5 })
  t.teardown(() => client.endAsync(true))
  await client.subscribeAsync(["plant/+/temp", "alarms/#"])
  const payload = `${"long ".repeat(20)}end`
  await client.publishAsync("plant/1/set", payload, { qos: 1, retain: true, properties: { contentType: "text/plain" } })
  const others = Array.from({ length: 1_050 }, (_, index) => {
    const options = {
      clientId: `other-${index}`,
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 60 },
    } as const
    return async () => (await mqtt.connectAsync(`mqtt://${address}`, options)).endAsync()
  })
  for (let index = 0; index < others.length; index += 50)
    await Promise.all(others.slice(index, index + 50).map((open) => open()))

  const clients = (await run("mqtt", "clients", "--admin", admin)).trim().split("\n")
  t.regex(clients[0] ?? "", /^CLIENT +CONNECTED +USER +PEER +SUBSCRIPTIONS +QUEUED +IN FLIGHT +DROPPED +LAST ERROR$/)
  t.is(clients.length, 1 + 1 + others.length)
  const own = clients.find((row) => row.startsWith("sensor-1 ")) ?? ""
  t.regex(
    own,
    /^sensor-1 +yes +- +127\.0\.0\.1:\d+ +(plant\/\+\/temp alarms\/#|alarms\/# plant\/\+\/temp) +0 +0 +0 +-$/,
  )
  t.regex(clients.find((row) => row.startsWith("other-7 ")) ?? "", /^other-7 +no +- +- +/)

  const retained = (await run("mqtt", "retained", "plant/#", "--admin", admin)).trim().split("\n")
  t.regex(retained[0] ?? "", /^TOPIC +QOS +BYTES +CONTENT TYPE +EXPIRES IN +PAYLOAD$/)
  t.regex(retained[1] ?? "", /^plant\/1\/set +1 +103 +text\/plain +- +long long .*\.\.\.$/)
  t.is(await run("mqtt", "retained", "nothing/#", "--admin", admin), "none\n")
})
