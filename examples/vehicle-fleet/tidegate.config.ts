/** Nothing but the broker: sessions of an hour, wills, shared subscriptions. */
import { defineConfig } from "tidegate"

export default defineConfig({
  admin: false,
  dataDir: false,
  workers: 2,
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  mqtt: { maxSessionExpiryS: 3_600, maxInflight: 16 },
})
