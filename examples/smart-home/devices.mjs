// A short evening in one room.
import { load, open } from "../load.mjs"

export async function day({ say, shows, sleep, stay }) {
  const { default: config, onMotion } = await load("smart-home")
  const gateway = await open(config)
  say(`MQTT, HTTP and WebSocket on ${gateway.port}, CoAP on ${gateway.udpPort}`)
  let off = null
  onMotion((room) => {
    void gateway.inject({ topic: `home/${room}/lamp`, payload: "on", retain: true })
    clearTimeout(off)
    off = setTimeout(() => void gateway.inject({ topic: `home/${room}/lamp`, payload: "off", retain: true }), 2_000)
  })

  const lamp = await gateway.mqtt("lamp-kitchen")
  await lamp.subscribe("home/kitchen/lamp", 1)
  const panel = await gateway.websocket("/", { protocol: "tidegate.v1.json" })
  panel.send(JSON.stringify({ type: "subscribe", id: 1, filter: "home/#" }))
  await panel.next()
  const thermometer = await gateway.coap()
  const motion = await gateway.mqtt("motion-kitchen")

  await thermometer.request("POST", "/t/home/kitchen/temp?retain=1", "21.5")
  const seen = JSON.parse(await panel.next())
  say(`panel: ${seen.topic} ${seen.payload}`)
  shows(seen.topic === "home/kitchen/temp" && seen.payload === "21.5", "the panel sees the CoAP thermometer over WebSocket")

  await motion.publish("home/kitchen/lux", "200", { qos: 1 })
  await motion.publish("home/kitchen/motion", "1", { qos: 1 })
  await sleep(200)
  shows(lamp.waiting === 0, "motion in daylight leaves the lamp alone")

  await motion.publish("home/kitchen/lux", "3", { qos: 1 })
  await motion.publish("home/kitchen/motion", "1", { qos: 1 })
  const on = await lamp.next()
  say(`lamp: ${on.text}`)
  shows(on.text === "on", "motion in the dark turns it on")
  const later = await lamp.next(5_000)
  say(`lamp: ${later.text}`)
  shows(later.text === "off", "and it goes off by itself")

  const last = await (await gateway.http("/t/home/kitchen/lamp")).text()
  shows(last === "off", `curl http://127.0.0.1:${gateway.port}/t/home/kitchen/lamp says ${last}`)
  if (stay) say(`goes on until Ctrl-C; watch it with: mosquitto_sub -p ${gateway.port} -t '#' -v`)
  while (stay) {
    await thermometer.request("POST", "/t/home/kitchen/temp?retain=1", (20 + Math.random() * 3).toFixed(1))
    await sleep(1_000)
  }
  await gateway.close()
}
