#!/usr/bin/env node
// The interoperability suites of Eclipse Paho (github.com/eclipse/paho.mqtt.testing, folder `interoperability`)
// against a gateway of its own: `node test/interop/paho.mjs FOLDER [test...]`. Needs python3, no packages; what
// they want of a broker stands below: one worker, since a test publishes before another connection's SUBACK.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createGateway, definePolicy, topic } from "../../dist/index.js"

const [folder, ...only] = process.argv.slice(2)
if (folder === undefined) {
  console.error("usage: node test/interop/paho.mjs FOLDER-interoperability [test...]")
  process.exit(1)
}

/** `test_subscribe_failure` wants this filter refused, by 0x80; nothing else waits for a verdict. */
const refuses = definePolicy({
  name: "refuses",
  deadlineMs: 5_000,
  filter: () => topic("test/nosubscribe"),
  decide: () => ({ reject: { reason: 0x80 } }),
})

// The suites read host, port and topics from their own module, and parse no arguments of unittest's.
const DRIVER = `
import importlib, logging, sys, unittest, warnings
name, port, prefix, *only = sys.argv[1:]
sys.argv = [name]
suite = importlib.import_module(name)
suite.host, suite.port, suite.topic_prefix = "127.0.0.1", int(port), prefix
suite.topics = [prefix + topic for topic in ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")]
suite.wildtopics = [prefix + topic for topic in ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")]
suite.nosubscribe_topics = ("test/nosubscribe",)
warnings.simplefilter("ignore")
logging.getLogger().setLevel(logging.ERROR)
unittest.main(module=suite, argv=[name] + ["Test." + test for test in only], verbosity=2)
`

const dataDir = mkdtempSync(join(tmpdir(), "tidegate-paho-"))
const gateway = await createGateway({
  workers: 1,
  admin: false,
  dataDir,
  listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
  mqtt: { serverKeepAliveS: 60 },
  broker: { hooks: { onSubscribe: [refuses()] } },
})
await gateway.start()
const port = new URL(`tcp://${gateway.stats().listeners[0]?.address}`).port
let failed = 0
for (const [suite, prefix] of [
  ["client_test", ""],
  ["client_test5", "client_test5/"],
]) {
  console.log(`--- ${suite}`)
  const child = spawn("python3", ["-c", DRIVER, suite, port, prefix, ...only], { cwd: folder, stdio: "inherit" })
  const [code] = await once(child, "exit")
  failed += code === 0 ? 0 : 1
}
await gateway.close()
rmSync(dataDir, { recursive: true, force: true })
process.exit(failed)
