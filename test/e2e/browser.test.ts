/** What pages in a real browser do through the gateway: gRPC-Web, event streams that reconnect, WebSockets. */
import type { ServerResponse } from "node:http"
import * as grpc from "@grpc/grpc-js"
import ava from "ava"
import { Browser, type Page } from "./browser.ts"
import { has, type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let browser: Browser | null = null
let page: Page
let server: grpc.Server
let events: Awaited<ReturnType<typeof upstream>>
/** `Last-Event-ID` of each connection to the event stream. */
const lastIds: (string | undefined)[] = []

const bytes = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (data: Buffer) => data,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (data: Buffer) => data,
}

/** Sends three events a connection, then ends it: the browser comes back with the last id. */
function stream(from: number, response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
  response.write("retry: 50\n\n")
  let id = from
  const timer = setInterval(() => {
    id += 1
    response.write(`id: ${id}\ndata: event ${id}\n\n`)
    if (id < from + 3) return
    clearInterval(timer)
    response.end()
  }, 10)
}

ava.before(async () => {
  if (!has("chromium", "chromium")) return
  server = new grpc.Server()
  const method = (name: string, responseStream: boolean) => ({
    path: `/test.Echo/${name}`,
    requestStream: false,
    responseStream,
    ...bytes,
  })
  server.addService(
    { unary: method("Unary", false), list: method("List", true) },
    {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
        if (call.request.toString() === "fail") callback({ code: grpc.status.NOT_FOUND, details: "no such thing" })
        else callback(null, Buffer.from(`echo ${call.request}`))
      },
      list: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        for (let count = 0; count < 3; count++) call.write(Buffer.from(`${call.request} ${count}`))
        call.end()
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure()
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)))
  })
  events = await upstream(({ headers }, response) => {
    const last = headers["last-event-id"] as string | undefined
    lastIds.push(last)
    stream(Number(last ?? 0), response)
  })
  gateway = await runGateway({
    upstreams: { rpc: { endpoints: [`127.0.0.1:${port}`], protocol: "h2c" }, events: { endpoints: [events.address] } },
    routes: [
      { when: { path: "/test.Echo/**" }, to: "rpc" },
      { when: { path: "/events" }, to: "events", use: [{ compress: {} }] },
      {
        when: { path: "/page" },
        to: { respond: { body: "<!doctype html><title>page</title>", headers: { "content-type": "text/html" } } },
      },
    ],
  })
  browser = await Browser.open()
  page = await browser.page({ width: 800, scheme: "light" })
  await page.go(`http://127.0.0.1:${gateway.port}/page`)
  for (const end = Date.now() + 20_000; (await page.value("document.title")) !== "page" && Date.now() < end; );
})

ava.after.always(async () => {
  await browser?.close()
  await gateway?.stop()
  server?.forceShutdown()
  events?.server.closeAllConnections()
  events?.server.close()
})

/** A gRPC-Web call by fetch, framed by hand: the messages, then what the trailers' frame says. */
const CALL = `async (name, text, type) => {
  const message = new TextEncoder().encode(text)
  const frame = new Uint8Array(5 + message.length)
  new DataView(frame.buffer).setUint32(1, message.length)
  frame.set(message, 5)
  const isText = type.includes("text")
  const body = isText ? btoa(String.fromCharCode(...frame)) : frame
  const answer = await fetch("/test.Echo/" + name, { method: "POST", headers: { "content-type": type }, body })
  let data = new Uint8Array(await answer.arrayBuffer())
  if (isText) {
    // Pieces of base64, each padded by itself.
    const pieces = new TextDecoder().decode(data).match(/[^=]+=*/g) ?? []
    data = Uint8Array.from(pieces.map((piece) => atob(piece)).join(""), (letter) => letter.charCodeAt(0))
  }
  const frames = []
  while (data.length >= 5) {
    const length = new DataView(data.buffer, data.byteOffset).getUint32(1)
    frames.push((data[0] === 0x80 ? "trailers " : "") + new TextDecoder().decode(data.subarray(5, 5 + length)))
    data = data.subarray(5 + length)
  }
  return JSON.stringify({ status: answer.status, frames, header: answer.headers.get("grpc-status") })
}`

async function call(name: string, text: string, type = "application/grpc-web+proto") {
  const answer = await page.value(
    `(${CALL})(${JSON.stringify(name)}, ${JSON.stringify(text)}, ${JSON.stringify(type)})`,
  )
  return JSON.parse(String(answer)) as { status: number; frames: string[]; header: string | null }
}

for (const type of ["application/grpc-web+proto", "application/grpc-web-text"]) {
  test(`a page calls a gRPC service by ${type}`, async (t) => {
    if (browser === null) return t.pass("no browser here")
    const unary = await call("Unary", "hello", type)
    t.is(unary.status, 200)
    t.is(unary.frames[0], "echo hello")
    t.regex(unary.frames[1] ?? "", /^trailers grpc-status: ?0/)
    const list = await call("List", "item", type)
    t.deepEqual(list.frames.slice(0, 3), ["item 0", "item 1", "item 2"])
    t.regex(list.frames[3] ?? "", /^trailers grpc-status: ?0/)
    const failed = await call("Unary", "fail", type)
    const told = failed.header ?? failed.frames.at(-1)
    t.regex(String(told), /5/)
  })
}

test("an event stream ends, and the browser goes on behind the last event it had", async (t) => {
  if (browser === null) return t.pass("no browser here")
  const got = await page.value(`new Promise((resolve) => {
    const source = new EventSource("/events")
    const got = []
    source.onmessage = ({ data, lastEventId }) => {
      got.push(lastEventId + ":" + data)
      if (got.length === 8) { source.close(); resolve(got.join()) }
    }
  })`)
  t.is(got, Array.from({ length: 8 }, (_, index) => `${index + 1}:event ${index + 1}`).join())
  t.deepEqual(lastIds.slice(0, 3), [undefined, "3", "6"])
})

test("a topic is an event stream for a page, and a WebSocket with JSON frames", async (t) => {
  if (browser === null) return t.pass("no browser here")
  const got = await page.value(`new Promise((resolve) => {
    const source = new EventSource("/t/browser/+")
    const got = []
    source.addEventListener("message", ({ data, lastEventId }) => {
      got.push(lastEventId + "=" + data)
      if (got.length === 2) { source.close(); resolve(got.join()) }
    })
    source.onopen = async () => {
      await fetch("/t/browser/a?retain=false", { method: "POST", body: "by fetch" })
      const socket = new WebSocket("ws://" + location.host + "/socket", "tidegate.v1.json")
      socket.onopen = () => socket.send(JSON.stringify({ type: "publish", id: 1, topic: "browser/b", payload: "by socket" }))
    }
  })`)
  t.is(got, "browser/a=by fetch,browser/b=by socket")
})
