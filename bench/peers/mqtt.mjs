// Everyone who is a broker in mqtt.mjs, memory.mjs and syscalls.mjs: in memory, no
// limit on queues and on what is in flight, so that nothing is lost for them.
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { packaged } from "../lib/packages.mjs"
import { CORE, find, freePort, output, scratch } from "../lib/process.mjs"
import { serve } from "./http.mjs"
import { tidegateMqtt } from "./tidegate.mjs"

/** Where files are memory. */
const MEMORY = "/dev/shm"

export const mosquitto = {
  name: "mosquitto",
  missing: () => (find("mosquitto") === undefined ? "apt-get install mosquitto" : undefined),
  // It has no flag for its version and ends with 1 or 3 after the help.
  version: () => /version (\S+)/.exec(output("sh", ["-c", `${find("mosquitto")} -h || true`]))?.[1] ?? "?",
  start: () => startMosquitto(["persistence false"]),
}

/** The same with its database, which it writes every half hour and at its end. */
export const mosquittoKept = {
  ...mosquitto,
  name: "mosquitto persistence",
  start: () => startMosquitto(["persistence true"], true),
}

function startMosquitto(more, keeps = false) {
  return serve(CORE.gateway, "mosquitto", (port, folder) => {
    const lines = [
      `listener ${port} 127.0.0.1`,
      "allow_anonymous true",
      ...more,
      ...(keeps ? [`persistence_location ${folder}/`, "user root"] : []),
      "set_tcp_nodelay true",
      "max_inflight_messages 0",
      "max_queued_messages 0",
      "log_type error",
    ]
    const file = join(folder, "mosquitto.conf")
    writeFileSync(file, `${lines.join("\n")}\n`)
    return ["-c", file]
  })
}

export const aedes = {
  name: "aedes",
  ...packaged("aedes"),
  /** Shapes it cannot do: its subscriptions are not shared. */
  without: ["shared"],
  start: () => {
    const program = fileURLToPath(new URL("./serve/aedes.mjs", import.meta.url))
    return serve(CORE.gateway, process.execPath, (port) => [program, String(port)])
  },
}

/** Written in Go. At QoS 1 it appends each message to a stream of JetStream, which for MQTT is one of files, here of files in memory. */
export const nats = {
  name: "nats-server",
  missing: () => (find("nats-server") === undefined ? "apt-get install nats-server" : undefined),
  version: () => /v(\d\S+)/.exec(output("nats-server", ["--version"]))?.[1] ?? "?",
  /** No shared subscriptions of MQTT. */
  without: ["shared"],
  start: async () => {
    const [own, store] = [await freePort(), scratch(existsSync(MEMORY) ? MEMORY : undefined)]
    return serve(CORE.gateway, "nats-server", (port, folder) => {
      const file = join(folder, "nats.conf")
      const lines = [
        `listen: "127.0.0.1:${own}"`,
        "server_name: bench",
        `jetstream { store_dir: "${store}" }`,
        `mqtt { listen: "127.0.0.1:${port}", max_ack_pending: 65535, consumer_memory_storage: true }`,
      ]
      writeFileSync(file, lines.join("\n"))
      return ["-c", file]
    })
  },
}

export const MQTT_PEERS = [tidegateMqtt, mosquitto, nats, aedes]
