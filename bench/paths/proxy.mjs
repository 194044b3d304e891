// One proxied GET at a time over a kept connection, as its client sees it: directly, and
// through each gateway. Origin and the JavaScript proxy run in processes of their own, the
// gateway in its native thread. CPU per request under load is bench/http-proxy.mjs.
import { fork } from "node:child_process"
import { Agent, request } from "node:http"
import { fileURLToPath } from "node:url"
import { createGateway } from "../../dist/index.js"

export const title = "proxy: one GET at a time"

export async function open() {
  const [origin, ports] = await spawn("../../examples/demo/upstream.mjs", [])
  const [proxy, proxyPort] = await spawn("./fastify-proxy.mjs", [String(ports[0])])
  const gateway = await createGateway({
    workers: 1,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0" }],
    upstreams: { origin: { endpoints: [`127.0.0.1:${ports[0]}`] } },
    routes: [{ when: { path: "/**" }, to: "origin" }],
  })
  await gateway.start()
  const port = Number(gateway.stats().listeners[0].address.split(":").at(-1))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const rows = [
    { name: "the origin itself", run: () => get(agent, ports[0]) },
    { name: "through tidegate", run: () => get(agent, port) },
    { name: "through @fastify/http-proxy", run: () => get(agent, proxyPort) },
  ]
  const close = async () => {
    agent.destroy()
    for (const child of [origin, proxy]) child.kill()
    await gateway.close()
  }
  return { rows, close }
}

/** A child that says by its first message where it listens. */
function spawn(file, args) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args)
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve([child, message]))
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)))
  })
}

function get(agent, port) {
  return new Promise((resolve, reject) => {
    const call = request({ agent, host: "127.0.0.1", port, path: "/api/hello" }, (response) => {
      response.resume()
      response.on("end", () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
      )
    })
    call.on("error", reject)
    call.end()
  })
}
