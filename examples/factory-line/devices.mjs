// Three machines, two historians, one of which fails for a while.
import { createServer } from "node:http"
import { load, open } from "../load.mjs"

const stored = new Map()

function historian() {
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (part) => {
      body += part
    })
    request.on("end", () => {
      const node = decodeURIComponent(request.url ?? "").replace("/t/", "")
      stored.set(`${node} ${JSON.parse(body).sequence}`, body)
      response.writeHead(204).end()
    })
  })
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)))
}

export async function day({ say, shows, sleep, stay }) {
  const historians = [await historian(), await historian()]
  process.env.HISTORIANS = historians.map((server) => `127.0.0.1:${server.address().port}`).join(",")
  const { default: config, onAlarm } = await load("factory-line")
  const gateway = await open(config)
  say(`MQTT on ${gateway.port}, historians ${process.env.HISTORIANS}`)
  const alarms = []
  onAlarm((node, active, value) => {
    alarms.push(`${node} ${active}`)
    say(`${active ? "ALARM" : "clear"} ${node} ${value}`)
    void gateway.inject({ topic: `alarm/${node}`, payload: JSON.stringify({ active, value }), retain: true })
  })
  const operator = await gateway.mqtt("operator")
  await operator.subscribe("alarm/#", 1)

  const machines = ["press", "oven", "saw"]
  const send = async (machine, sequence) => {
    const device = devices.get(machine)
    const hot = machine === "oven" && sequence >= 40 && sequence < 60
    const values = { Temperature: hot ? 97 : 70 + (sequence % 10), Pressure: 5, Vibration: 1 + (sequence % 3) }
    for (const [name, value] of Object.entries(values)) {
      const sample = { value, quality: "Good", time: new Date().toISOString(), sequence }
      const reason = await device.publish(`line/1/${machine}/${name}`, JSON.stringify(sample), { qos: 1 })
      if (reason >= 128) refused++
    }
  }
  const devices = new Map()
  let refused = 0
  for (const machine of machines) devices.set(machine, await gateway.mqtt(`plc-${machine}`))
  const samples = 100
  for (let sequence = 0; sequence < samples; sequence++) {
    if (sequence === 30) {
      say("the first historian fails")
      historians[0].close()
      historians[0].closeAllConnections()
    }
    await Promise.all(machines.map((machine) => send(machine, sequence)))
    if (sequence % 10 === 0) await sleep(50)
  }
  const wanted = samples * machines.length * 3
  say(`${stored.size} of ${wanted} values stored, ${refused} refused`)
  shows(stored.size === wanted && refused === 0, "every value that was acknowledged is in the historian, though one of two failed")
  shows(alarms.join() === "line/1/oven/Temperature true,line/1/oven/Temperature false", "one alarm was raised, and cleared")
  const raised = await operator.next()
  shows(JSON.parse(raised.text).active === true, `the operator was told on ${raised.topic}`)
  if (stay) say(`goes on until Ctrl-C; watch it with: mosquitto_sub -p ${gateway.port} -t '#' -v`)
  for (let sequence = samples; stay; sequence++) {
    await Promise.all(machines.map((machine) => send(machine, sequence)))
    await sleep(1_000)
  }
  await gateway.close()
  for (const server of historians) server.close()
}
