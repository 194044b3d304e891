/** gRPC through the gateway: grpc-js as client and server, and what a browser sends (gRPC-Web). */
import { spawnSync } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import * as grpc from "@grpc/grpc-js"
import ava from "ava"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const { status } = grpc

/** Messages are text: what is tested is everything around them. */
const text = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (data: Buffer) => data.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (data: Buffer) => data.toString(),
}
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  ...text,
})
const definition = {
  unary: method("Unary", false, false),
  collect: method("Collect", true, false),
  list: method("List", false, true),
  talk: method("Talk", true, true),
}
const Echo = grpc.makeGenericClientConstructor(definition, "Echo")
type Call = grpc.ServerUnaryCall<string, string>

let gateway: Running
let server: grpc.Server
let client: grpc.Client
let serving = 1
let closed = 0
const deadlines: number[] = []

const implementation: grpc.UntypedServiceImplementation = {
  unary: (call: Call, callback: grpc.sendUnaryData<string>) => {
    deadlines.push(Number(call.getDeadline()) - Date.now())
    const metadata = new grpc.Metadata()
    metadata.set("x-trailer", "kept")
    if (call.request === "fail") {
      metadata.set("x-why", "because")
      return callback({ code: status.FAILED_PRECONDITION, details: "not so: 100 %", metadata })
    }
    if (call.request === "never") return undefined
    call.sendMetadata(new grpc.Metadata())
    return callback(null, `echo ${call.request} ${call.metadata.get("x-sent")[0] ?? ""}`, metadata)
  },
  collect: (call: grpc.ServerReadableStream<string, string>, callback: grpc.sendUnaryData<string>) => {
    const parts: number[] = []
    call.on("data", (data: string) => parts.push(data.length))
    call.on("end", () => callback(null, parts.join()))
  },
  list: (call: grpc.ServerWritableStream<string, string>) => {
    for (let count = 0; count < 5; count++) call.write(`${call.request} ${count}`)
    call.end()
  },
  talk: (call: grpc.ServerDuplexStream<string, string>) => {
    call.on("data", (data: string) => call.write(`you said ${data}`))
    call.on("end", () => call.end())
    // grpc-js says it of every call whose stream is closed, also of one that ended well.
    call.on("cancelled", () => {
      closed += 1
    })
  },
}

const health = {
  check: {
    path: "/grpc.health.v1.Health/Check",
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (data: Buffer) => data,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (data: Buffer) => data,
  },
}

ava.before(async () => {
  server = new grpc.Server()
  server.addService(definition, implementation)
  server.addService(health, {
    check: (call: { request: Buffer }, callback: grpc.sendUnaryData<Buffer>) => {
      if (call.request.toString("latin1") !== "\n\techo.Echo") return callback({ code: status.NOT_FOUND })
      return callback(null, Buffer.from([8, serving]))
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  const check = { grpc: "echo.Echo", intervalMs: 50, rise: 1, fall: 1 }
  gateway = await runGateway({
    upstreams: {
      echo: { endpoints: [`127.0.0.1:${port}`], protocol: "h2c", health: check },
      gone: { endpoints: ["127.0.0.1:1"], protocol: "h2c" },
    },
    routes: [
      { when: { path: "/test.Echo/Gone" }, to: "gone" },
      { when: { path: "/test.Echo/Forbidden" }, to: { respond: { status: 403, body: "no" } } },
      { when: { path: "/test.Echo/**" }, to: "echo" },
    ],
  })
  client = new Echo(`127.0.0.1:${gateway.port}`, grpc.credentials.createInsecure())
})
ava.after.always(async () => {
  client?.close()
  await gateway?.stop()
  server?.forceShutdown()
})

interface Answer {
  readonly value?: string
  readonly error: grpc.ServiceError | null
  readonly trailers: grpc.Metadata
}

function unary(path: string, request: string, options: grpc.CallOptions = {}, metadata = new grpc.Metadata()) {
  return new Promise<Answer>((resolve) => {
    let answer: { value?: string; error: grpc.ServiceError | null } = { error: null }
    const call = client.makeUnaryRequest(
      path,
      text.requestSerialize,
      text.responseDeserialize,
      request,
      metadata,
      options,
      (error, value) => {
        answer = { error, ...(value !== undefined && { value }) }
      },
    )
    call.on("status", (end) => setImmediate(() => resolve({ ...answer, trailers: end.metadata })))
  })
}

test("a unary call passes with its metadata and trailers", async (t) => {
  const metadata = new grpc.Metadata()
  metadata.set("x-sent", "along")
  const { value, error, trailers } = await unary("/test.Echo/Unary", "hi", {}, metadata)
  t.is(error, null)
  t.is(value, "echo hi along")
  t.deepEqual(trailers.get("x-trailer"), ["kept"])
})

test("a large message passes both ways", async (t) => {
  const large = "x".repeat(3_000_000)
  const { value } = await unary("/test.Echo/Unary", large)
  t.is(value?.length, large.length + "echo  ".length)
})

test("the server's status, its words and its metadata arrive", async (t) => {
  const { error, trailers } = await unary("/test.Echo/Unary", "fail")
  t.is(error?.code, status.FAILED_PRECONDITION)
  t.is(error?.details, "not so: 100 %")
  t.deepEqual(trailers.get("x-why"), ["because"])
})

test("client, server and both streams flow", async (t) => {
  const collected = await new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(
      "/test.Echo/Collect",
      text.requestSerialize,
      text.responseDeserialize,
      (error, value) => (error === null ? resolve(value) : reject(error)),
    )
    for (const size of [1, 100_000, 0, 70_000]) call.write("x".repeat(size))
    call.end()
  })
  t.is(collected, "1,100000,0,70000")
  const listed: string[] = []
  const list = client.makeServerStreamRequest(
    "/test.Echo/List",
    text.requestSerialize,
    text.responseDeserialize,
    "item",
  )
  for await (const item of list) listed.push(String(item))
  t.deepEqual(listed, ["item 0", "item 1", "item 2", "item 3", "item 4"])
  const talk = client.makeBidiStreamRequest("/test.Echo/Talk", text.requestSerialize, text.responseDeserialize)
  const heard = talk[Symbol.asyncIterator]()
  for (const word of ["one", "two", "three"]) {
    talk.write(word)
    t.is(String((await heard.next()).value), `you said ${word}`, "before anything more is sent")
  }
  talk.end()
  t.true((await heard.next()).done)
})

test("the client's deadline reaches the server, and the gateway holds it", async (t) => {
  const { error } = await unary("/test.Echo/Unary", "never", { deadline: Date.now() + 400 })
  t.is(error?.code, status.DEADLINE_EXCEEDED)
  const left = deadlines.at(-1) ?? 0
  t.true(left > 0 && left <= 400, String(left))
})

test("where the gateway answers, it does so in gRPC's words", async (t) => {
  t.is((await unary("/test.Echo/Gone", "x")).error?.code, status.UNAVAILABLE)
  t.is((await unary("/test.Echo/Forbidden", "x")).error?.code, status.PERMISSION_DENIED)
  t.is((await unary("/other.Service/Method", "x")).error?.code, status.UNIMPLEMENTED)
})

test("a call that is cancelled is cancelled at the server", async (t) => {
  const talk = client.makeBidiStreamRequest("/test.Echo/Talk", text.requestSerialize, text.responseDeserialize)
  talk.on("error", () => {})
  talk.write("a")
  await new Promise((resolve) => talk.once("data", resolve))
  const before = closed
  talk.cancel()
  for (const end = Date.now() + 3_000; closed === before && Date.now() < end; ) await sleep(20)
  t.is(closed, before + 1)
  t.is((await unary("/test.Echo/Unary", "after")).error, null)
})

// `.ci/run` builds it from grpc-go/ where there is Go.
if (spawnSync("which", ["tidegate-grpc-go"]).status === 0) {
  test("grpc-go calls in every form, with a deadline, a cancellation and a failure", async (t) => {
    const before = closed
    const { code, out } = await run("tidegate-grpc-go", [`127.0.0.1:${gateway.port}`], 30_000)
    t.deepEqual(out.trim().split("\n"), [
      "unary: echo hi there [kept]",
      "status: FailedPrecondition not so: 100 % [because]",
      "collect: 1,100000,3",
      "list: 5 item 4",
      "talk: you said turn 2 true",
      "deadline: DeadlineExceeded",
      "cancelled: Canceled",
    ])
    t.is(code, 0)
    // One stream ended well, the other one was cancelled.
    for (const end = Date.now() + 3_000; closed < before + 2 && Date.now() < end; ) await sleep(20)
    t.is(closed, before + 2)
  })
}

/** A message as gRPC frames it. */
const frame = (value: string): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(value.length, 1)
  return Buffer.concat([head, Buffer.from(value)])
}

test("gRPC-Web is translated, binary and text", async (t) => {
  const url = `http://127.0.0.1:${gateway.port}/test.Echo/Unary`
  const post = async (type: string, body: Buffer | string) => {
    const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body })
    return { type: response.headers.get("content-type"), body: Buffer.from(await response.arrayBuffer()) }
  }
  const binary = await post("application/grpc-web+proto", frame("web"))
  t.is(binary.type, "application/grpc-web+proto")
  t.deepEqual(binary.body.subarray(0, 14), frame("echo web "))
  t.is(binary.body[14], 0x80)
  t.regex(binary.body.subarray(19).toString(), /grpc-status: 0\r\n/)
  const coded = await post("application/grpc-web-text", frame("text").toString("base64"))
  const groups = coded.body.toString().match(/[^=]+=*/g) ?? []
  const decoded = Buffer.concat(groups.map((group) => Buffer.from(group, "base64")))
  t.deepEqual(decoded.subarray(0, 15), frame("echo text "))
  t.regex(decoded.toString("latin1"), /grpc-status: 0\r\n/)
})

test("grpc.health.v1 decides whether an endpoint is used", async (t) => {
  const until = async (wanted: number): Promise<boolean> => {
    for (const end = Date.now() + 5_000; Date.now() < end; await sleep(50)) {
      if ((await unary("/test.Echo/Unary", "x")).error?.code === (wanted === 0 ? undefined : wanted)) return true
    }
    return false
  }
  t.true(await until(0))
  serving = 2
  const health = async (): Promise<string> => {
    const { items } = (await (await fetch(`${gateway.admin}/v1/upstreams`)).json()) as {
      items: { name: string; endpoints: { health: string }[] }[]
    }
    return String(items.find(({ name }) => name === "echo")?.endpoints[0]?.health)
  }
  for (const end = Date.now() + 5_000; (await health()) !== "unhealthy" && Date.now() < end; ) await sleep(50)
  t.is(await health(), "unhealthy")
  serving = 1
  for (const end = Date.now() + 5_000; (await health()) !== "healthy" && Date.now() < end; ) await sleep(50)
  t.is(await health(), "healthy")
})
