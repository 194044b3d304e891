// A box, a center, and a line between them that breaks.
import { connect, createServer } from "node:net"
import { load, open } from "../load.mjs"

export async function day({ say, shows, sleep, stay }) {
  const center = await open({})
  const line = await uplink(center.port)
  process.env.CENTER = `mqtt://127.0.0.1:${line.port}`
  const { default: config } = await load("edge-uplink")
  const box = await open(config)
  say(`box on ${box.port}, center on ${center.port}`)
  const analyst = await center.mqtt("analyst")
  await analyst.subscribe("box1/sensor/#", 1)
  const sensor = await box.mqtt("sensor")
  const valve = await box.mqtt("valve")
  await valve.subscribe("command/valve", 1)
  await sleep(1_000)

  for (let value = 0; value < 10; value++) await sensor.publish("sensor/level", String(value), { qos: 1 })
  await sleep(500)
  shows(analyst.waiting === 10, `the center has ${analyst.waiting} of 10 values`)
  await center.inject({ topic: "command/valve", payload: "open", qos: 1 })
  shows((await valve.next()).text === "open", "a command of the center reaches the valve")

  say("the uplink breaks")
  line.cut()
  const display = await box.mqtt("display")
  await display.subscribe("sensor/level", 1)
  for (let value = 10; value < 60; value++) await sensor.publish("sensor/level", String(value), { qos: 1 })
  await sleep(500)
  shows(analyst.waiting === 10, "the center hears nothing")
  shows(display.waiting === 50, "on the box everything goes on")

  say("the uplink is back")
  line.mend()
  for (let tries = 0; analyst.waiting < 60 && tries < 300; tries++) await sleep(50)
  const values = []
  while (analyst.waiting > 0) values.push(Number((await analyst.next()).text))
  const inOrder = [...new Set(values)].every((value, index) => value === index)
  shows(new Set(values).size === 60 && inOrder, `the center has all ${new Set(values).size} values, in order`)
  if (stay) say(`goes on until Ctrl-C; watch it with: mosquitto_sub -p ${center.port} -t '#' -v`)
  while (stay) {
    await sensor.publish("sensor/level", String(Math.round(Math.random() * 100)), { qos: 1 })
    await sleep(1_000)
  }
  await box.close()
  await center.close()
  line.close()
}

/** A line to a port that can be cut and mended. */
function uplink(target) {
  const sockets = new Set()
  let isCut = false
  const server = createServer((client) => {
    if (isCut) return client.destroy()
    const there = connect(target, "127.0.0.1")
    for (const socket of [client, there]) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        sockets.delete(socket)
        client.destroy()
        there.destroy()
      })
    }
    client.pipe(there).pipe(client)
  })
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () =>
      resolve({
        port: server.address().port,
        cut: () => {
          isCut = true
          for (const socket of sockets) socket.destroy()
        },
        mend: () => {
          isCut = false
        },
        close: () => server.close(),
      }),
    ),
  )
}
