// A gateway whose handler, event listener and subscription keep JavaScript busy too.
import { createGateway, defineHandler, handler, path } from "../../../dist/index.js"

/** Starts it on a free port; gives the gateway and its port. */
export async function startGateway() {
  const handled = defineHandler({ name: "handled", handle: () => ({ status: 200, body: "x" }) })
  const gateway = await createGateway({
    workers: 2,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "udp://127.0.0.1:0", protocols: ["coap"] }],
    routes: [{ when: path("/handled"), to: handler(handled) }],
  })
  gateway.on("access", () => {})
  gateway.on("connection-closed", () => {})
  await gateway.start()
  gateway.subscribe("#", () => {})
  return { gateway, port: Number(gateway.stats().listeners[0].address.split(":").at(-1)) }
}
