// Load for coap.mjs: clients with one confirmable GET in flight each, from a socket of
// their own, over and over. First the value is put. Prints the answers as JSON.
//   node coap.mjs <port> <clients> <seconds>
import { createSocket } from "node:dgram"

const [port, clients, seconds] = process.argv.slice(2).map(Number)
const AGAIN_MS = 1_000
const options = Buffer.concat([Buffer.from([0xb1]), Buffer.from("t"), Buffer.from([0x05]), Buffer.from("bench")])
let answers = 0
let again = 0

class Client {
  constructor() {
    this.id = Math.floor(Math.random() * 65_536)
    this.socket = createSocket("udp4")
    this.socket.on("message", (answer) => this.take(answer))
  }

  /** Sends a request of that code; resolves when the first answer is there. */
  start(code, payload = Buffer.alloc(0)) {
    this.code = code
    this.payload = payload
    return new Promise((resolve) => {
      this.first = resolve
      this.socket.connect(port, "127.0.0.1", () => this.send())
    })
  }

  send() {
    this.id = (this.id + 1) & 0xffff
    const head = Buffer.from([0x41, this.code, this.id >> 8, this.id & 0xff, 7])
    this.message = Buffer.concat([head, options, this.payload])
    this.at = Date.now()
    this.socket.send(this.message)
  }

  take(answer) {
    if (answer.readUInt16BE(2) !== this.id) return
    // 2.01, 2.04 and 2.05 are answers, anything else is none.
    if (answer[1] >> 5 !== 2) throw new Error(`${answer[1] >> 5}.${answer[1] & 31} was answered`)
    answers += 1
    this.first?.(answer)
    this.first = undefined
    if (this.repeats) this.send()
  }

  resend(now) {
    if (now - this.at < AGAIN_MS) return
    again += 1
    this.at = now
    this.socket.send(this.message)
  }
}

const putter = new Client()
await putter.start(3, Buffer.from([0xff, ...Buffer.from("21.5")]))
putter.socket.close()
const all = Array.from({ length: clients }, () => new Client())
await Promise.all(
  all.map((client) => {
    client.repeats = true
    return client.start(1)
  }),
)
// Everybody is at it: what follows counts.
answers = 0
process.stdout.write("begun\n")
const timer = setInterval(() => {
  const now = Date.now()
  for (const client of all) client.resend(now)
}, 200)
await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
process.stdout.write(`${JSON.stringify({ answers, again })}\n`)
clearInterval(timer)
process.exit(0)
