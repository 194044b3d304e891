/** h2spec's cases of RFC 9113 and RFC 7541, all but the one that a shared port answers differently. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import { run, runGateway } from "./run-gateway.ts"

const CHOSEN = [
  // What begins like no HTTP/2 is not HTTP/2 here: an HTTP/1.1 client gets its 400 before the close.
  "Sends invalid connection preface",
  // Where the answer was faster than the updates, they are for a closed stream and mean nothing (section 5.1).
  "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
]

// Not among Debian's packages: `.ci/run` builds it where there is Go.
if (spawnSync("which", ["h2spec"]).status === 0) {
  test("h2spec passes", async (t) => {
    const gateway = await runGateway({
      routes: [{ when: { path: "/**" }, to: { respond: { status: 200, body: "well" } } }],
      limits: { http2ControlPerSecond: 10_000 },
    })
    const folder = mkdtempSync(join(tmpdir(), "tidegate-h2spec-"))
    t.teardown(async () => {
      rmSync(folder, { recursive: true, force: true })
      await gateway.stop()
    })
    const report = join(folder, "report.xml")
    const { out } = await run(
      "h2spec",
      ["-h", "127.0.0.1", "-p", String(gateway.port), "-P", "/", "-o", "2", "-j", report],
      120_000,
    )
    t.regex(out, /145 tests/)
    const cases = readFileSync(report, "utf8").split("<testcase ").slice(1)
    const failed = cases.filter((text) => /<(failure|error)/.test(text))
    const names = failed.map((text) => /classname="([^"]*)"/.exec(text)?.[1] ?? text)
    t.deepEqual(
      names.filter((name) => !CHOSEN.includes(name)),
      [],
    )
  })
} else {
  test("h2spec is not installed here", (t) => t.pass())
}
