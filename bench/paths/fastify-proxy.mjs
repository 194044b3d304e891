// @fastify/http-proxy before the origin whose port is the argument; sends its own port.
import proxy from "@fastify/http-proxy"
import Fastify from "fastify"

const app = Fastify()
await app.register(proxy, { upstream: `http://127.0.0.1:${process.argv[2]}` })
await app.listen({ host: "127.0.0.1", port: 0 })
process.send(app.server.address().port)
process.on("disconnect", () => process.exit(0))
