/** The box: a broker of its own, and a bridge to the center. */
import { defineConfig } from "tidegate"

export default defineConfig({
  admin: false,
  workers: 1,
  dataDir: process.env.EDGE_DATA ?? false,
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  bridges: {
    center: {
      to: process.env.CENTER ?? "mqtt://127.0.0.1:1883",
      out: [{ topic: "sensor/#", remotePrefix: "box1/" }],
      in: [{ topic: "command/#" }],
    },
  },
})
