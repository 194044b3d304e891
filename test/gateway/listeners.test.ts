/** Listeners that are written the same or mean the same. */
import { createGateway } from "../../src/gateway/index.ts"
import { withAddon } from "./with-addon.ts"

withAddon("each of two listeners on any free port has a name, a port and terms of its own", async (t) => {
  const address = "tcp://127.0.0.1:0"
  const gateway = await createGateway({
    workers: 1,
    dataDir: false,
    listeners: [
      { address, protocols: ["http1"] },
      { address, protocols: ["mqtt"] },
    ],
    routes: [{ when: { path: "/**" }, to: { respond: { status: 200, body: "here" } } }],
  })
  t.teardown(() => gateway.close())
  await gateway.start()
  const [first, second] = gateway.stats().listeners
  t.deepEqual([first?.name, second?.name], [address, `${address} (2)`])
  t.not(first?.address, second?.address)
  t.is(await (await fetch(`http://${first?.address}/`)).text(), "here")
  t.is((await fetch(`http://${second?.address}/`)).status, 421)
})

withAddon("localhost is the address that it stands for", async (t) => {
  const listeners = [{ address: "tcp://localhost:17890" }, { address: "tcp://127.0.0.1:17890" }]
  await t.throwsAsync(createGateway({ workers: 1, dataDir: false, listeners }), {
    message: /listeners\[1\]\.address: tcp:\/\/127\.0\.0\.1:17890 is already taken by listeners\[0\]/,
  })
})
