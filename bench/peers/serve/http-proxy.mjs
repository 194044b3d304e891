// http-proxy behind a table of 64 routes. Arguments: port, origin's port.
import { Agent, createServer } from "node:http"
import httpProxy from "http-proxy"

const [port, origin] = process.argv.slice(2).map(Number)
const agent = new Agent({ keepAlive: true, maxSockets: 512 })
const target = `http://127.0.0.1:${origin}`
const proxy = httpProxy.createProxyServer({ agent, xfwd: true, proxyTimeout: 15_000, timeout: 75_000 })
const routes = new Map(Array.from({ length: 64 }, (_, index) => [`r${index}`, target]))

proxy.on("error", (_error, _request, response) => {
  if (!response.headersSent) response.writeHead(502)
  response.end()
})

createServer((request, response) => {
  const found = routes.get(request.url.split("/", 2)[1])
  if (found === undefined) {
    response.writeHead(404).end()
    return
  }
  proxy.web(request, response, { target: found })
}).listen(port, "127.0.0.1")
