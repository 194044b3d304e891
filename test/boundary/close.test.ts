/** The addon's calls at the wrong moment: each is an error with a name, never a crash or a hang. */
import { connect } from "node:net"
import type { ExecutionContext } from "ava"
import { createGateway } from "../../src/gateway/index.ts"
import {
  createEventRing,
  LAYOUT_VERSION,
  loadNative,
  type NativeGateway,
  toTidegateError,
} from "../../src/native/index.ts"
import { withAddon } from "../gateway/with-addon.ts"

function open(t: ExecutionContext): NativeGateway {
  const gateway = new (loadNative().NativeGateway)({
    workers: 2,
    layoutVersion: LAYOUT_VERSION,
    dataDir: null,
    eventRings: [createEventRing(), createEventRing()],
  })
  t.teardown(() => gateway.close())
  return gateway
}

/** The code that a call fails with. */
async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call()
    return "none"
  } catch (error) {
    return toTidegateError(error).code
  }
}

withAddon("a panic in a native call is an error, and the gateway goes on", async (t) => {
  const gateway = open(t)
  const error = t.throws(() => gateway.panicForTest())
  t.is(toTidegateError(error).exitCode, 70)
  t.is(await gateway.publish("a", Buffer.from("x"), "{}"), "no-subscribers")
})

withAddon("a gateway may be closed twice, at once or later", async (t) => {
  const gateway = open(t)
  await Promise.all([gateway.close(), gateway.close()])
  await gateway.close()
  t.pass()
})

withAddon("closing does not wait for a drain that is under way", async (t) => {
  const gateway = await createGateway({
    workers: 2,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0" }],
    drain: { timeoutMs: 60_000 },
  })
  await gateway.start()
  const port = Number(gateway.stats().listeners[0]?.address.split(":").at(-1))
  const socket = connect(port, "127.0.0.1").on("error", () => {})
  const connected = Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0])
  socket.write(connected)
  await new Promise((resolve) => socket.once("data", resolve))
  const draining = gateway.drain()
  const began = performance.now()
  await gateway.close()
  await draining
  t.true(performance.now() - began < 20_000)
  socket.destroy()
})

withAddon("what is asked of a closed gateway is refused with CLOSED", async (t) => {
  const gateway = open(t)
  await gateway.close()
  const calls: Record<string, () => unknown> = {
    publish: () => gateway.publish("a", Buffer.from("x"), "{}"),
    connections: () => gateway.connections("{}"),
    closeConnection: () => gateway.closeConnection("0-0-0"),
    mqttClients: () => gateway.mqttClients("{}"),
    kickClient: () => gateway.kickClient("a"),
    subscribe: () => gateway.subscribe("a", 0),
    attach: () => loadNative().attachPolicyThread(gateway.id, [], () => {}, []),
  }
  const codes: Record<string, string> = {}
  for (const [name, call] of Object.entries(calls)) codes[name] = await codeOf(call)
  const { closeConnection, attach, ...others } = codes
  t.deepEqual([...new Set(Object.values(others))], ["CLOSED"], JSON.stringify(codes))
  t.not(closeConnection, "NATIVE_FAILED")
  t.not(attach, "none")
})

withAddon("another version of the shared layout is refused before anything starts", async (t) => {
  const { NativeGateway } = loadNative()
  const start = (layoutVersion: number) => () =>
    new NativeGateway({ workers: 1, layoutVersion, eventRings: [], dataDir: null })
  t.is(await codeOf(start(LAYOUT_VERSION + 1)), "LAYOUT")
  const ring = createEventRing()
  new Uint32Array(ring.buffer)[0] = 99
  const withRing = () =>
    new NativeGateway({ workers: 1, layoutVersion: LAYOUT_VERSION, eventRings: [ring], dataDir: null })
  t.is(await codeOf(withRing), "LAYOUT")
  t.is(
    await codeOf(() => new NativeGateway({ workers: 0, layoutVersion: LAYOUT_VERSION, eventRings: [], dataDir: null })),
    "INVALID_OPTIONS",
  )
})
