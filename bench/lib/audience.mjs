// Subscribers that only count: `node audience.mjs PORT COUNT BYTES`; says `ready`, then a line each time that all of
// them got one more PUBLISH of BYTES, ends with its input.
import { once } from "node:events"
import { connect } from "node:net"

const [port, count, bytes] = process.argv.slice(2).map(Number)
const held = []
let [got, rounds, told] = [0, 0, false]

async function one() {
  const socket = connect(port, "127.0.0.1")
  socket.on("error", (error) => {
    console.error(String(error))
    process.exit(1)
  })
  await once(socket, "connect")
  // MQTT 3.1.1, clean session, no keep-alive; then SUBSCRIBE to `all` at QoS 0.
  socket.write(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0]))
  socket.write(Buffer.from([0x82, 8, 0, 1, 0, 3, 0x61, 0x6c, 0x6c, 0]))
  for (let answered = 0; answered < 9; ) answered += (await once(socket, "data"))[0].length
  socket.on("data", (chunk) => {
    got += chunk.length
    if (told && got >= count * bytes * (rounds + 1)) {
      rounds++
      console.log(`{"round":${rounds}}`)
    }
  })
  held.push(socket)
}

while (held.length < count) await Promise.all(Array.from({ length: Math.min(32, count - held.length) }, one))
told = true
console.log('{"event":"ready"}')
process.stdin.resume()
await once(process.stdin, "end")
process.exit(0)
