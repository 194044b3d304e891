/** Line 25: broken WebSocket frames on a connection that the gateway itself serves, by raw sockets. */
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import ava from "ava"
import { exchange, type Running, runGateway } from "../e2e/run-gateway.ts"

let gateway: Running

ava.before(async () => {
  gateway = await runGateway({ workers: 1, limits: { websocketMessageBytes: 1_000 }, routes: [] })
})
ava.after.always(async () => gateway?.stop())

async function open(subprotocol = "tidegate.v1.json"): Promise<Socket> {
  const socket = connect(gateway.port, "127.0.0.1")
  socket.on("error", () => {})
  const key = randomBytes(16).toString("base64")
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`,
  )
  const [head] = (await once(socket, "data")) as [Buffer]
  if (!head.toString().startsWith("HTTP/1.1 101")) throw new Error(head.toString())
  return socket
}

/** A frame with a zero mask, so that the payload stands as it is. */
function frame(first: number, payload: Buffer | string, length?: Buffer): Buffer {
  const data = Buffer.from(payload)
  const size =
    length ??
    (data.length < 126 ? Buffer.from([0x80 | data.length]) : Buffer.from([0xfe, data.length >> 8, data.length & 255]))
  return Buffer.concat([Buffer.from([first]), size, Buffer.alloc(4), data])
}

/** The close code that answers these bytes. */
async function closeCode(bytes: Buffer): Promise<number> {
  const socket = await open()
  const chunks: Buffer[] = []
  socket.on("data", (data) => chunks.push(data))
  socket.write(bytes)
  await once(socket, "close")
  const all = Buffer.concat(chunks)
  const at = all.indexOf(0x88)
  return at < 0 ? 0 : all.readUInt16BE(at + 2)
}

const BROKEN: readonly [name: string, bytes: Buffer, code: number][] = [
  ["an unmasked frame", Buffer.from([0x81, 2, 0x7b, 0x7d]), 1002],
  ["reserved bit 1", frame(0xc1, "{}"), 1002],
  ["reserved bit 2", frame(0xa1, "{}"), 1002],
  ["reserved bit 3", frame(0x91, "{}"), 1002],
  ["a reserved opcode", frame(0x83, "{}"), 1002],
  ["a reserved control opcode", frame(0x8b, ""), 1002],
  ["a long control frame", frame(0x89, Buffer.alloc(126)), 1002],
  ["a split control frame", frame(0x09, "x"), 1002],
  ["a length with its top bit", frame(0x81, "", Buffer.from([0xff, 0x80, 0, 0, 0, 0, 0, 0, 1])), 1002],
  ["a length that is not minimal", frame(0x81, "{}", Buffer.from([0xfe, 0, 2])), 1002],
  ["a continuation of nothing", frame(0x80, "x"), 1002],
  ["a new message inside of another", Buffer.concat([frame(0x01, "x"), frame(0x81, "{}")]), 1002],
  ["bad UTF-8", frame(0x81, Buffer.from([0xc3, 0x28])), 1007],
  ["UTF-8 cut at the end", frame(0x81, Buffer.from([0xe2, 0x82])), 1007],
  ["a surrogate in UTF-8", frame(0x81, Buffer.from([0xed, 0xa0, 0x80])), 1007],
  ["a close of one byte", frame(0x88, "x"), 1002],
  ["a close code that may not be sent", frame(0x88, Buffer.from([3, 0xed])), 1002],
  ["a close reason that is no UTF-8", frame(0x88, Buffer.from([3, 0xe8, 0xff])), 1007],
  ["a message over the limit", frame(0x81, Buffer.alloc(1_001, "x")), 1009],
  ["a length over the limit, before it came", frame(0x81, "", Buffer.from([0xff, 0, 0, 0, 1, 0, 0, 0, 0])), 1009],
  [
    "endless fragments",
    Buffer.concat([frame(0x01, Buffer.alloc(600, "x")), frame(0x00, Buffer.alloc(600, "x"))]),
    1009,
  ],
]

for (const [name, bytes, code] of BROKEN) {
  ava(`25: ${name} closes with ${code}`, async (t) => {
    t.is(await closeCode(bytes), code)
  })
}

/** All frames that answer these bytes, up to the end of the connection: first byte and payload. */
async function answers(subprotocol: string, bytes: Buffer): Promise<[first: number, payload: Buffer][]> {
  const socket = await open(subprotocol)
  const chunks: Buffer[] = []
  socket.on("data", (data) => chunks.push(data))
  socket.write(bytes)
  await once(socket, "close")
  const all = Buffer.concat(chunks)
  const frames: [number, Buffer][] = []
  for (let at = 0; at < all.length; at += 2 + all.readUInt8(at + 1)) {
    frames.push([all.readUInt8(at), all.subarray(at + 2, at + 2 + all.readUInt8(at + 1))])
  }
  return frames
}

ava("25: a Close is answered with its code, behind the answers to what stood before it", async (t) => {
  const code = Buffer.from([0x0b, 0xb9])
  const [pong, close, ...more] = await answers(
    "tidegate.v1.json",
    Buffer.concat([frame(0x81, '{"type":"ping","id":1}'), frame(0x88, Buffer.concat([code, Buffer.from("bye")]))]),
  )
  t.deepEqual([pong?.[0], JSON.parse(String(pong?.[1]))], [0x81, { type: "pong", id: 1 }])
  t.deepEqual([close, more], [[0x88, code], []])
  t.deepEqual(await answers("tidegate.v1.json", frame(0x88, "")), [[0x88, Buffer.alloc(0)]])

  const connect = Buffer.from("101100044d5154540502003c00000461626364", "hex")
  const publish = Buffer.from("3208000161000100" + "7878", "hex")
  const mqtt = await answers("mqtt", Buffer.concat([frame(0x82, connect), frame(0x82, publish), frame(0x88, code)]))
  t.deepEqual(mqtt.at(-1), [0x88, code])
  t.true(Buffer.concat(mqtt.map(([, payload]) => payload)).includes(Buffer.from("40030001", "hex")), "PUBACK")

  const coap = await answers("coap", Buffer.concat([frame(0x82, Buffer.from([0, 0xe1])), frame(0x88, code)]))
  t.deepEqual(coap.at(-1), [0x88, code])
})

ava("25: a handshake has one key of 16 octets, and version 13", async (t) => {
  const handshake = (...fields: string[]): Promise<string> =>
    exchange(
      gateway.port,
      `GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n${fields.join("\r\n")}\r\n\r\n`,
      /\r\n\r\n/,
    )
  const [key, version] = ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
  t.regex(await handshake(key, version), /^HTTP\/1.1 101 /)
  t.regex(await handshake(key, key, version), /^HTTP\/1.1 400 /)
  t.regex(await handshake("Sec-WebSocket-Key: c2hvcnQ=", version), /^HTTP\/1.1 400 /)
  t.regex(await handshake(version), /^HTTP\/1.1 400 /)
  t.regex(await handshake(key, "Sec-WebSocket-Version: 8"), /^HTTP\/1.1 426 [\s\S]*sec-websocket-version: 13/)
})

ava("25: empty fragments without end are bounded", async (t) => {
  const socket = await open()
  const flood = Buffer.concat([frame(0x01, ""), ...Array.from({ length: 200_000 }, () => frame(0x00, ""))])
  let came = Buffer.alloc(0)
  socket.on("data", (data) => {
    came = Buffer.concat([came, data])
  })
  socket.write(flood)
  socket.write(frame(0x89, "ping"))
  await new Promise((resolve) => {
    socket.on("data", resolve)
    socket.on("close", resolve)
  })
  socket.destroy()
  t.true(came.length > 0, "it answers or closes; nothing was kept for empty fragments")
})
