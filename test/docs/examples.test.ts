/** Every example runs by its one command, and what it shows holds. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { withAddon } from "../gateway/with-addon.ts"

const folder = fileURLToPath(new URL("../../examples/", import.meta.url))
const examples = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith("/devices.mjs"))
  .map((name) => name.replace("/devices.mjs", ""))

for (const name of examples) {
  withAddon(`${name} shows what it says`, async (t) => {
    const options = { encoding: "utf8", timeout: 90_000 } as const
    const { status, stdout, stderr } = spawnSync(process.execPath, [`${folder}run.mjs`, name], options)
    t.is(status, 0, stdout + stderr)
    t.regex(stdout, /([1-9]) of \1 held/)
  })
}

withAddon("without a name it says which there are", async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [`${folder}run.mjs`], { encoding: "utf8" })
  t.is(status, 1)
  for (const name of examples) t.true(stderr.includes(name))
})

withAddon("an example that stays says how to watch it, and ends with its sum at Ctrl-C", async (t) => {
  const child = spawn(process.execPath, [`${folder}run.mjs`, "smart-home", "--stay"], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  t.teardown(() => child.kill("SIGKILL"))
  let text = ""
  for await (const part of child.stdout) {
    text += String(part)
    if (/goes on until Ctrl-C; watch it with: mosquitto_sub -p \d+/.test(text)) child.kill("SIGINT")
  }
  if (child.exitCode === null) await once(child, "exit")
  t.is(child.exitCode, 0, text)
  t.regex(text, /5 of 5 held\n$/)
})
