// @fastify/http-proxy with 64 prefixes to one upstream. Arguments: port, origin's port.
import proxy from "@fastify/http-proxy"
import createFastify from "fastify"

const [port, origin] = process.argv.slice(2).map(Number)
const app = createFastify({ logger: false, requestTimeout: 15_000 })
const upstream = `http://127.0.0.1:${origin}`

const rewriteRequestHeaders = (request, headers) => ({
  ...headers,
  "x-forwarded-for": request.ip,
  "x-forwarded-proto": request.protocol,
  "x-forwarded-host": request.headers.host,
})

for (let index = 0; index < 64; index++) {
  const prefix = `/r${index}`
  await app.register(proxy, {
    upstream,
    prefix,
    rewritePrefix: prefix,
    replyOptions: { rewriteRequestHeaders },
    undici: { connections: 512, pipelining: 1, headersTimeout: 15_000 },
  })
}
await app.listen({ port, host: "127.0.0.1" })
