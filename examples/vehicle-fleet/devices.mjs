// Vehicles that lose the network, dispatchers that share the work, orders that arrive all the same.
import { load, open } from "../load.mjs"

const VEHICLES = 50
const REPORTS = 20
const ORDERS = 5

export async function day({ say, shows, sleep, stay }) {
  const { default: config } = await load("vehicle-fleet")
  const gateway = await open(config)
  say(`MQTT on ${gateway.port}, ${VEHICLES} vehicles`)

  const dispatchers = []
  for (const name of ["north", "south"]) {
    const dispatcher = await gateway.mqtt(`dispatch-${name}`)
    await dispatcher.subscribe("$share/dispatch/vehicle/+/position", 1)
    dispatchers.push(dispatcher)
  }
  const watcher = await gateway.mqtt("watcher")
  await watcher.subscribe("vehicle/+/state", 1)

  const fleet = Array.from({ length: VEHICLES }, (_, index) => new Vehicle(gateway, `v${index}`))
  for (const vehicle of fleet) await vehicle.connect(true)
  const headquarters = await gateway.mqtt("headquarters")
  let drops = 0
  for (let report = 0; report < REPORTS; report++) {
    await Promise.all(
      fleet.map(async (vehicle, index) => {
        await vehicle.report(report)
        if ((index + report) % 7 !== 0) return
        vehicle.vanish()
        drops++
      }),
    )
    if (report % 4 === 0) {
      for (const { id } of fleet) await headquarters.publish(`vehicle/${id}/order`, `order ${report / 4}`, { qos: 1 })
    }
    await Promise.all(fleet.filter(({ isAway }) => isAway).map((vehicle) => vehicle.connect(false)))
  }
  await sleep(500)
  const orders = await Promise.all(fleet.map((vehicle) => vehicle.orders()))
  const right = JSON.stringify(Array.from({ length: ORDERS }, (_, index) => `order ${index}`))
  const served = orders.filter((list) => JSON.stringify(list) === right).length
  say(`${drops} times a vehicle lost the network`)
  shows(served === VEHICLES, `${served} of ${VEHICLES} vehicles have every order, once and in order`)
  const positions = dispatchers.map(({ waiting }) => waiting)
  const sum = positions.reduce((total, count) => total + count, 0)
  shows(sum === VEHICLES * REPORTS, `${sum} positions reached the dispatchers: ${positions.join(" and ")}`)
  shows(positions.every((count) => count > 0), "both of them work")
  shows(watcher.waiting === drops, `${watcher.waiting} wills told of vehicles that vanished`)
  if (stay) say(`goes on until Ctrl-C; watch it with: mosquitto_sub -p ${gateway.port} -t '#' -v`)
  while (stay) {
    for (const vehicle of fleet) await vehicle.report(0)
    await sleep(1_000)
  }
  await gateway.close()
}

class Vehicle {
  isAway = true
  #gateway
  #device = null
  #orders = []

  constructor(gateway, id) {
    this.#gateway = gateway
    this.id = id
  }

  async connect(first) {
    const will = { topic: `vehicle/${this.id}/state`, payload: "lost", qos: 1, retain: false }
    const properties = { sessionExpiry: 3_600 }
    this.#device = await this.#gateway.mqtt({ clientId: this.id, cleanStart: first, will, properties })
    this.isAway = false
    if (first) await this.#device.subscribe(`vehicle/${this.id}/order`, 1)
  }

  async report(number) {
    await this.#device.publish(`vehicle/${this.id}/position`, JSON.stringify({ number, lat: 52.5, lon: 13.4 }), { qos: 1 })
  }

  /** The network is gone, in the middle of whatever went on. */
  vanish() {
    this.#collect()
    this.#device.vanish()
    this.isAway = true
  }

  async orders() {
    while (this.#device.waiting > 0) await this.#take()
    return this.#orders
  }

  #collect() {
    while (this.#device.waiting > 0) void this.#take()
  }

  async #take() {
    const { text } = await this.#device.next()
    // At QoS 1 an order may come twice when its acknowledgement was lost.
    if (this.#orders.at(-1) !== text) this.#orders.push(text)
  }
}
