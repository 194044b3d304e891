/** What `npm start` runs: the embedded broker, and one upstream of two small servers. */
import { defineConfig, http, path, respond, retry } from "tidegate"

const endpoints = (process.env.DEMO_ENDPOINTS ?? "127.0.0.1:9000,127.0.0.1:9001").split(",")

export default defineConfig({
  admin: { address: "127.0.0.1:7001" },
  listeners: [
    { address: "tcp://127.0.0.1:7000", protocols: "detect" },
    { address: "udp://127.0.0.1:5683", protocols: ["coap"] },
  ],
  upstreams: {
    demo: { endpoints, balance: "roundRobin", health: http("/healthz") },
  },
  routes: [
    { name: "api", when: path("/api/**"), to: "demo", use: [retry({ attempts: 1 })] },
    { name: "echo", when: path("/echo"), to: "demo" },
    { name: "ping", when: path("/ping"), to: respond(200, "pong\n") },
  ],
})
