/** A fake WebSocket client (RFC 6455) of text messages: enough for tests, without a library. */
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { request } from "node:http"
import type { Socket } from "node:net"
import { TidegateError } from "../errors.ts"
import { Queue } from "./queue.ts"

const [TEXT, CLOSE, PING, PONG] = [1, 8, 9, 10]

export interface WebSocketOptions {
  readonly protocol?: string
  readonly headers?: Readonly<Record<string, string>>
}

export class WebSocketDevice {
  readonly #socket: Socket
  readonly #messages = new Queue<string>("messages")
  #rest: Buffer = Buffer.alloc(0)

  private constructor(socket: Socket, head: Buffer) {
    this.#socket = socket
    socket.on("data", (bytes) => this.#take(bytes))
    socket.on("error", (error) => this.#messages.end(error))
    socket.on("close", () => this.#messages.end(new Error("the WebSocket is closed")))
    this.#take(head)
  }

  /** Throws TEST_REFUSED with the status when it is not taken. */
  static async open(
    port: number,
    path: string,
    { protocol, headers }: WebSocketOptions = {},
  ): Promise<WebSocketDevice> {
    const own = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": randomBytes(16).toString("base64"),
      ...(protocol !== undefined && { "sec-websocket-protocol": protocol }),
    }
    const call = request({ host: "127.0.0.1", port, path, headers: { ...own, ...headers } })
    call.end()
    const refused = once(call, "response").then(([response]) => {
      const { statusCode } = response as { statusCode: number }
      call.destroy()
      throw new TidegateError("TEST_REFUSED", `the WebSocket on ${path} was answered with ${statusCode}`)
    })
    const taken = once(call, "upgrade") as Promise<[unknown, Socket, Buffer]>
    const [, socket, head] = await Promise.race([taken, refused])
    refused.catch(() => undefined)
    return new WebSocketDevice(socket, head)
  }

  send(text: string): void {
    this.#write(TEXT, Buffer.from(text))
  }

  /** The next text message; throws TEST_TIMEOUT. */
  next(timeoutMs?: number): Promise<string> {
    return this.#messages.next(timeoutMs)
  }

  close(): void {
    this.#write(CLOSE, Buffer.from([0x03, 0xe8]))
    this.#socket.end()
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes])
    for (;;) {
      const [first, second] = this.#rest
      if (first === undefined || second === undefined) return
      const short = second & 0x7f
      const at = short === 126 ? 4 : short === 127 ? 10 : 2
      if (this.#rest.length < at) return
      const length =
        short === 126 ? this.#rest.readUInt16BE(2) : short === 127 ? Number(this.#rest.readBigUInt64BE(2)) : short
      if (this.#rest.length < at + length) return
      const payload = this.#rest.subarray(at, at + length)
      this.#rest = this.#rest.subarray(at + length)
      const opcode = first & 0x0f
      if (opcode === TEXT) this.#messages.push(payload.toString("utf8"))
      if (opcode === PING) this.#write(PONG, payload)
      if (opcode === CLOSE) this.#socket.end()
    }
  }

  /** A client's frames are masked. */
  #write(opcode: number, payload: Buffer): void {
    const mask = randomBytes(4)
    const long = payload.length > 125
    const head = Buffer.alloc(long ? 10 : 2)
    head[0] = 0x80 | opcode
    head[1] = 0x80 | (long ? 127 : payload.length)
    if (long) head.writeBigUInt64BE(BigInt(payload.length), 2)
    const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))
    this.#socket.write(Buffer.concat([head, mask, masked]))
  }
}
