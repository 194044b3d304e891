// An example of a crate that prints its own figures as JSON: built for release, run round by round, the first one dropped.
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { save } from "./report.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The parsed output of each round; `--quick` is one round. */
function rounds(name, example) {
  const count = process.argv.includes("--quick") ? 2 : 6
  const command = ["run", "--quiet", "--release", "-p", name, "--example", example]
  return Array.from({ length: count }, () => {
    const { status, stdout } = spawnSync("cargo", command, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    })
    if (status !== 0) process.exit(status ?? 1)
    return JSON.parse(stdout)
  }).slice(1)
}

/** A row for each of the example's rows, `ns` as median, least and most of the rounds. */
export function figures(name, example) {
  const [first, ...rest] = rounds(name, example)
  return first.map((row, index) => {
    const { ns, ...what } = row
    const values = [ns, ...rest.map((round) => round[index].ns)].sort((a, b) => a - b)
    return { ...what, medianNs: values[values.length >> 1], minNs: values[0], maxNs: values.at(-1) }
  })
}

/** Prints and keeps tables by their name. */
export function show(file, tables) {
  for (const [name, rows] of Object.entries(tables)) {
    console.log(`\n${name}`)
    console.table(rows)
  }
  save(file, tables)
}
