// Ends the process by process.exit while a gateway of it has traffic.
import { startGateway } from "./gateway.mjs"
import { keepBusy } from "./traffic.mjs"

const { port } = await startGateway()
await keepBusy(port)
process.exit(7)
