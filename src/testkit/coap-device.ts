/** A fake CoAP device (RFC 7252, RFC 7641): confirmable requests, observations, one socket of its own. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import { type CoapMessage, coap } from "../codec/index.ts"
import { Queue } from "./queue.ts"

const METHODS = { GET: "0.01", POST: "0.02", PUT: "0.03", DELETE: "0.04", FETCH: "0.05" } as const
const [OBSERVE, URI_PATH, URI_QUERY] = [6, 11, 15]

export interface CoapAnswer {
  /** `2.05` and so on. */
  readonly code: string
  readonly text: string
  readonly message: CoapMessage
}

export interface CoapObservation {
  next(timeoutMs?: number): Promise<CoapAnswer>
  /** Deregisters, as a GET with Observe 1 does. */
  stop(): Promise<void>
}

export class CoapDevice {
  readonly #socket: Socket
  readonly #port: number
  readonly #waiting = new Map<string, Queue<CoapAnswer>>()
  #next = 1

  private constructor(socket: Socket, port: number) {
    this.#socket = socket
    this.#port = port
    socket.on("message", (datagram) => this.#take(coap.decode(datagram)))
  }

  static async open(port: number): Promise<CoapDevice> {
    const socket = createSocket("udp4")
    socket.bind(0, "127.0.0.1")
    await once(socket, "listening")
    return new CoapDevice(socket, port)
  }

  /** One answer; throws TEST_TIMEOUT. */
  async request(method: keyof typeof METHODS, path: string, payload?: string | Uint8Array): Promise<CoapAnswer> {
    const { token, queue } = this.#open()
    this.#send(method, { path, token, payload })
    const answer = await queue.next()
    this.#waiting.delete(token)
    return answer
  }

  /** The first notification is the present state. */
  observe(path: string): CoapObservation {
    const { token, queue } = this.#open()
    this.#send("GET", { path, token, observe: 0 })
    return {
      next: (timeoutMs) => queue.next(timeoutMs),
      stop: async () => {
        this.#send("GET", { path, token, observe: 1 })
        await queue.next()
        this.#waiting.delete(token)
      },
    }
  }

  close(): void {
    this.#socket.close()
  }

  #open(): { token: string; queue: Queue<CoapAnswer> } {
    const token = `t${this.#next}`
    const queue = new Queue<CoapAnswer>("answers")
    this.#waiting.set(token, queue)
    return { token, queue }
  }

  #send(
    method: keyof typeof METHODS,
    sent: { path: string; token: string; payload?: string | Uint8Array | undefined; observe?: number },
  ): void {
    const { pathname, searchParams } = new URL(sent.path, "coap://gateway")
    const segments = pathname.split("/").filter((segment) => segment !== "")
    const options = [
      ...(sent.observe === undefined ? [] : [{ number: OBSERVE, value: Buffer.from(sent.observe === 0 ? [] : [1]) }]),
      ...segments.map((segment) => ({ number: URI_PATH, value: Buffer.from(decodeURIComponent(segment)) })),
      ...[...searchParams].map(([name, value]) => ({ number: URI_QUERY, value: Buffer.from(`${name}=${value}`) })),
    ]
    const messageId = this.#next++ & 0xffff
    const [code, token] = [METHODS[method], Buffer.from(sent.token)]
    const payload = sent.payload === undefined ? {} : { payload: Buffer.from(sent.payload as Uint8Array) }
    this.#socket.send(
      coap.encode({ type: "con", code, messageId, token, options, ...payload }),
      this.#port,
      "127.0.0.1",
    )
  }

  #take(message: CoapMessage): void {
    const { type, code, messageId, token = Buffer.alloc(0), payload = Buffer.alloc(0) } = message
    if (type === "con")
      this.#socket.send(coap.encode({ type: "ack", code: "0.00", messageId }), this.#port, "127.0.0.1")
    if (code === "0.00") return
    const text = Buffer.from(payload).toString("utf8")
    this.#waiting.get(Buffer.from(token).toString("latin1"))?.push({ code, text, message })
  }
}
