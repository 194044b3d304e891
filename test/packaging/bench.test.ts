/** What the benchmarks stand on: a server that keeps what its clients left falls over in a later round. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import test from "ava"
import { freePort } from "../free-port.mjs"

const ORIGIN = fileURLToPath(new URL("../../bench/peers/serve/ws-origin.mjs", import.meta.url))
const UPGRADE = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

test("the origin of WebSockets closes what its client closed", async (t) => {
  const port = await freePort()
  const child = spawn(process.execPath, [ORIGIN, String(port)], { stdio: "inherit" })
  t.teardown(() => child.kill())
  const socket = await connected(port)
  socket.write(UPGRADE)
  t.regex(String(await once(socket, "data")), /^HTTP\/1\.1 101 /)
  socket.end()
  // Its own end comes, and with it the descriptor is free.
  await t.notThrowsAsync(once(socket, "close", { signal: AbortSignal.timeout(10_000) }))
})

/** A connection to a server that may still be starting. */
async function connected(port: number): Promise<ReturnType<typeof connect>> {
  for (const end = Date.now() + 10_000; ; await sleep(20)) {
    const socket = connect(port, "127.0.0.1")
    const isOpen = await once(socket, "connect").then(
      () => true,
      () => false,
    )
    if (isOpen) return socket
    if (Date.now() > end) throw new Error("the origin does not listen")
  }
}
