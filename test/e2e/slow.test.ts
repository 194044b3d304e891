/**
 * slowhttptest, the well-known tool of slow attacks, against the gateway in each of its
 * modes: what it holds open is ended by the limits, and other clients do not notice.
 */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { request } from "undici"
import { has, type Running, runGateway, start, upstream } from "./run-gateway.ts"

const test = ava.serial
const CONNECTIONS = 150
const large = Buffer.alloc(4_000_000, "x")
let gateway: Running
let api: Awaited<ReturnType<typeof upstream>>

ava.before(async () => {
  api = await upstream((incoming, response) => {
    incoming.on("error", () => {})
    incoming.resume().on("end", () => response.end(incoming.url === "/large" ? large : "well"))
  })
  gateway = await runGateway({
    upstreams: { api: { endpoints: [api.address] } },
    limits: { headerTimeoutMs: 1_500, halfOpenMs: 1_500, stallTimeoutMs: 1_500 },
    routes: [{ when: { path: "/**" }, to: "api" }],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  api?.server.closeAllConnections()
  api?.server.close()
})

/** Connections from clients that the gateway has now. */
async function open(): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const found = /^tidegate_connections\{listener="[^"]+",protocol="http1"\} (\d+)$/m.exec(text)
  return Number(found?.[1] ?? 0)
}

for (const [mode, args] of [
  ["slow headers", ["-H"]],
  ["slow body", ["-B", "-s", "8192"]],
  ["slow read", ["-X", "-w", "1", "-y", "2", "-z", "1", "-n", "5", "-k", "1"]],
] as const) {
  test(`${mode}: other clients are answered as ever, and the slow ones end`, async (t) => {
    if (!has("slowhttptest", "slowhttptest")) return t.pass("slowhttptest is not here")
    const url = `http://127.0.0.1:${gateway.port}/${mode === "slow read" ? "large" : "slow"}`
    const flags = mode === "slow read" ? args : [...args, "-i", "1", "-x", "8"]
    const attack = start("slowhttptest", [
      ...flags,
      "-c",
      `${CONNECTIONS}`,
      "-r",
      "300",
      "-l",
      "6",
      "-p",
      "2",
      "-u",
      url,
    ])
    const took = async (address: string): Promise<number> => {
      const began = performance.now()
      const { statusCode, body } = await request(`http://${address}/other`)
      t.deepEqual([statusCode, await body.text()], [200, "well"])
      return performance.now() - began
    }
    // The service itself and this process suffer, too: what the gateway adds to that is what counts.
    const [direct, through]: [number[], number[]] = [[], []]
    for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) {
      direct.push(await took(api.address))
      through.push(await took(`127.0.0.1:${gateway.port}`))
    }
    // Not the 99th: of a hundred requests that is the one that the machine itself held up.
    const p90 = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.9)] ?? 0
    const [alone, behind] = [p90(direct), p90(through)]
    const text = `${through.length} requests, p90 ${behind} ms, ${alone} ms without the gateway`
    t.true(through.length > 40 && behind - alone < 500, text)
    for (const end = Date.now() + 8_000; attack.child.exitCode === null && Date.now() < end; ) await sleep(50)
    t.regex(attack.out(), /Exit status:/, "it ran to its end")
    for (const end = Date.now() + 6_000; (await open()) > 5 && Date.now() < end; ) await sleep(100)
    t.true((await open()) <= 5, `${await open()} connections are left`)
  })
}
