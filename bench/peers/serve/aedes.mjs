// aedes in memory. Argument: the port.
import { createServer } from "node:net"
import { Aedes } from "aedes"

const broker = await Aedes.createBroker({ queueLimit: 1_000_000, concurrency: 1_000 })
createServer({ noDelay: true }, broker.handle).listen(Number(process.argv[2]), "127.0.0.1")
