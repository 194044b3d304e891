// The least that Node can do: node:http in front, an undici pool behind, a table of 64
// routes. Arguments: port, origin's port.
import { createServer } from "node:http"
import { Pool } from "undici"

const [port, origin] = process.argv.slice(2).map(Number)
const pool = new Pool(`http://127.0.0.1:${origin}`, { connections: 512, pipelining: 1, headersTimeout: 15_000 })
const routes = new Map(Array.from({ length: 64 }, (_, index) => [`r${index}`, pool]))
const HOP_BY_HOP = new Set(["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"])

function forwarded(request) {
  const headers = {
    "x-forwarded-for": request.socket.remoteAddress,
    "x-forwarded-proto": "http",
    "x-forwarded-host": request.headers.host,
  }
  for (const name in request.headers) {
    if (!HOP_BY_HOP.has(name)) headers[name] = request.headers[name]
  }
  return headers
}

function endToEnd(headers) {
  for (const name of HOP_BY_HOP) delete headers[name]
  return headers
}

function handle(request, response) {
  const { method, url: path } = request
  const upstream = routes.get(path.split("/", 2)[1])
  if (upstream === undefined) {
    response.writeHead(404).end()
    return
  }
  const body = method === "GET" || method === "HEAD" ? null : request
  const answer = ({ statusCode, headers }) => response.writeHead(statusCode, endToEnd(headers))
  upstream.stream({ method, path, body, headers: forwarded(request) }, answer).catch(() => {
    if (!response.headersSent) response.writeHead(502)
    response.end()
  })
}

createServer({ requestTimeout: 15_000 }, handle).listen(port, "127.0.0.1")
