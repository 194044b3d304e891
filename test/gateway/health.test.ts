/** Health checks: the state machine without a clock, the checks against real servers. */
import { createSocket } from "node:dgram"
import { createServer, type Server } from "node:http"
import { type AddressInfo, createServer as createTcpServer } from "node:net"
import { Aedes } from "aedes"
import test, { type ExecutionContext } from "ava"
import fc from "fast-check"
import { judge, nextDelay, UNKNOWN } from "../../src/health/index.ts"
import { defineHealthCheck } from "../../src/index.ts"
import { start, until } from "./start.ts"

const TIMES = { rise: 2, fall: 3 }

function after(results: readonly boolean[]) {
  return results.reduce((state, passed) => judge(state, passed, TIMES), UNKNOWN)
}

test("one pass makes an unknown endpoint healthy, `fall` fails make it unhealthy", (t) => {
  t.is(after([true]).status, "healthy")
  t.is(after([false, false]).status, "unknown")
  t.is(after([false, false, false]).status, "unhealthy")
})

test("only results in a row count", (t) => {
  t.is(after([true, false, false, true, false, false]).status, "healthy")
  t.is(after([true, false, false, false]).status, "unhealthy")
  t.is(after([false, false, false, true, false, true]).status, "unhealthy")
  t.is(after([false, false, false, true, true]).status, "healthy")
})

test("whatever came before, `fall` fails end unhealthy and `rise` passes end healthy", (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 30 }), (results) => {
      t.is(after([...results, false, false, false]).status, "unhealthy")
      t.is(after([...results, true, true]).status, "healthy")
    }),
  )
})

test("checks come faster while the verdict is about to change", (t) => {
  t.is(nextDelay({ status: "healthy", against: 0 }, 3_000), 3_000)
  t.is(nextDelay({ status: "healthy", against: 1 }, 3_000), 1_000)
  t.is(nextDelay(UNKNOWN, 3_000), 1_000)
})

async function serve(t: ExecutionContext, answer: () => { status: number; body: string }): Promise<number> {
  const server: Server = createServer((_, response) => {
    const { status, body } = answer()
    response.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

const FAST = { intervalMs: 20, timeoutMs: 500, rise: 1, fall: 1 }

test("an endpoint that fails its HTTP check loses its weight and gets it back", async (t) => {
  let status = 200
  const port = await serve(t, () => ({ status, body: "all fine" }))
  const upstreams = { api: { endpoints: [`127.0.0.1:${port}`], health: { http: "/healthz", body: "fine", ...FAST } } }
  const { native, gateway } = await start(t, { upstreams })
  const statusOf = () => gateway.endpoints.status(gateway.loaded.config.upstreams[0] as never, `127.0.0.1:${port}`)
  await until(() => statusOf() === "healthy")
  status = 500
  await until(() => native.weights[0]?.health === 0)
  status = 204
  await until(() => statusOf() === "unhealthy")
  status = 200
  await until(() => native.weights[0]?.health === 1)
  t.is(statusOf(), "healthy")
})

for (const [version, header] of [
  ["v1", Buffer.from("PROXY UNKNOWN\r\n")],
  ["v2", Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex")],
] as const) {
  test(`checks of an endpoint that expects the PROXY protocol ${version} begin with its header`, async (t) => {
    const server = createTcpServer((socket) => {
      let seen = Buffer.alloc(0)
      socket.on("error", () => {})
      socket.on("data", (data) => {
        seen = Buffer.concat([seen, data])
        const isTold = seen.subarray(0, header.length).equals(header)
        if (seen.includes("\r\n\r\n", header.length)) socket.end(`HTTP/1.1 ${isTold ? 200 : 400} x\r\n\r\n`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    t.teardown(() => server.close())
    const endpoints = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
    const [http, tcp] = [
      { http: "/", ...FAST },
      { tcp: true as const, ...FAST },
    ]
    const { gateway } = await start(t, {
      upstreams: {
        told: { endpoints, proxyProtocol: version, health: http },
        open: { endpoints, proxyProtocol: version, health: tcp },
        silent: { endpoints, health: http },
      },
    })
    const statusOf = (index: number) =>
      gateway.endpoints.status(gateway.loaded.config.upstreams[index] as never, endpoints[0] ?? "")
    await until(() => statusOf(0) === "healthy" && statusOf(1) === "healthy" && statusOf(2) === "unhealthy")
    t.pass()
  })
}

test("a TCP check fails where nothing listens", async (t) => {
  const upstreams = { api: { endpoints: ["127.0.0.1:1"], health: { tcp: true, ...FAST } } }
  const { native } = await start(t, { upstreams })
  await until(() => native.weights[0]?.health === 0)
  t.pass()
})

test("what a check finds of a registered instance stands in the registry", async (t) => {
  const port = await serve(t, () => ({ status: 200, body: "" }))
  const { gateway } = await start(t, { upstreams: { api: { service: "api", health: { http: "/", ...FAST } } } })
  gateway.registry.put("api", "a1", { host: "127.0.0.1", port })
  await until(() => gateway.registry.instances("api", { healthy: true }).length === 1)
  t.pass()
})

test("an MQTT check asks a broker, also one that wants credentials, and nothing else passes", async (t) => {
  const broker = await Aedes.createBroker()
  let refuses = false
  broker.authenticate = (_client, _user, _password, done) => {
    if (refuses) done(Object.assign(new Error("who?"), { returnCode: 5 }) as never, false)
    else done(null, true)
  }
  const server = createTcpServer(broker.handle)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => {
    broker.close()
    server.close()
  })
  const web = await serve(t, () => ({ status: 200, body: "no broker" }))
  const { port } = server.address() as AddressInfo
  const endpoints = [`127.0.0.1:${port}`, `127.0.0.1:${web}`]
  const { gateway } = await start(t, { upstreams: { mq: { endpoints, health: { mqtt: true, ...FAST } } } })
  const statusOf = (id: string) => gateway.endpoints.status(gateway.loaded.config.upstreams[0] as never, id)
  await until(() => statusOf(endpoints[0] ?? "") === "healthy" && statusOf(endpoints[1] ?? "") === "unhealthy")
  refuses = true
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.is(statusOf(endpoints[0] ?? ""), "healthy")
})

test("a CoAP check wants the Reset of its own ping", async (t) => {
  const answering = async (answer: (ping: Buffer) => Buffer) => {
    const socket = createSocket("udp4")
    socket.on("message", (ping, { port, address }) => socket.send(answer(ping), port, address))
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve))
    t.teardown(() => socket.close())
    return `127.0.0.1:${socket.address().port}`
  }
  const well = await answering((ping) => Buffer.from([0x70, 0, ping[2] ?? 0, ping[3] ?? 0]))
  const other = await answering(() => Buffer.from([0x70, 0, 0, 0]))
  const health = { coap: true as const, ...FAST, timeoutMs: 60 }
  const { gateway } = await start(t, { upstreams: { c: { endpoints: [well, other], health } } })
  const statusOf = (id: string) => gateway.endpoints.status(gateway.loaded.config.upstreams[0] as never, id)
  await until(() => statusOf(well) === "healthy" && statusOf(other) === "unhealthy")
  t.pass()
})

test("a command passes by its exit code, in time, with the endpoint in its arguments", async (t) => {
  const command = (program: string) => [process.execPath, "-e", program, "{host}", "{port}"]
  const [host, port] = ["process.argv[1] === '127.0.0.1'", "process.argv[2] === '7'"]
  const upstream = (program: string) => {
    return { endpoints: ["127.0.0.1:7"], health: { command: command(program), ...FAST, timeoutMs: 2_000 } }
  }
  const { gateway } = await start(t, {
    upstreams: {
      well: upstream(`process.exit(${host} && ${port} ? 0 : 1)`),
      ill: upstream("process.exit(3)"),
      missing: { endpoints: ["127.0.0.1:7"], health: { command: ["/no/such/program"], ...FAST } },
      slow: { endpoints: ["127.0.0.1:7"], health: { command: command("setTimeout(() => {}, 9000)"), ...FAST } },
    },
  })
  const statuses = () =>
    gateway.loaded.config.upstreams.map((upstream) => gateway.endpoints.status(upstream, "127.0.0.1:7")).join(" ")
  await until(() => statuses() === "healthy unhealthy unhealthy unhealthy")
  t.pass()
})

test("a function of the configuration decides, and fails by exception and by being late", async (t) => {
  const asked: string[] = []
  const check = defineHealthCheck({
    name: "by-port",
    check: ({ host, port, signal }) => {
      asked.push(`${host} ${port}`)
      if (port === 2) throw new Error("ill")
      if (port === 3) return new Promise((resolve) => signal.addEventListener("abort", () => resolve(true)))
      return port === 1
    },
  })
  const endpoints = [1, 2, 3, 4].map((port) => `127.0.0.1:${port}`)
  const health = { custom: check, ...FAST, timeoutMs: 50 }
  const { gateway } = await start(t, { upstreams: { api: { endpoints, health } } })
  const statuses = () =>
    endpoints.map((id) => gateway.endpoints.status(gateway.loaded.config.upstreams[0] as never, id)).join(" ")
  await until(() => statuses() === "healthy unhealthy unhealthy unhealthy")
  t.true(asked.includes("127.0.0.1 1"))
})
