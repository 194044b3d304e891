// npm run test:long: the long forms of what `npm test` and .ci/run do briefly; some three hours on two cores.
// Each ends with what it counted, and the first that finds something ends the run.
import { join } from "node:path"
import { has, root, run, setup } from "./setup.mjs"

setup()

title("the log's crashes, 1,500 seeds")
run("cargo", ["test", "--quiet", "--profile", "ci", "-p", "tidegate-store", "--test", "simulation"], {
  env: { ...process.env, TIDEGATE_SIMULATION: "0-1499" },
})

title("random MQTT clients beside a model, 100 seeds")
run("npm", ["run", "--silent", "test:model", "--", "--seeds", "100"])

title("1,000 times kill -9 under load")
run(process.execPath, [join(root, "test", "durability", "kill.mjs"), "--kills", "1000"])

title("ten minutes of each fuzz target")
if (has("cargo-fuzz")) run(join(root, "crates", "fuzz", "run"), ["600"])
else process.stdout.write("left out: cargo install --locked cargo-fuzz\n")

function title(text) {
  process.stdout.write(`\n--- ${text}\n`)
}
