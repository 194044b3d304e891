// One of many threads: starts a gateway and says on which port.
import { parentPort } from "node:worker_threads"
import { startGateway } from "./gateway.mjs"

parentPort.postMessage((await startGateway()).port)
