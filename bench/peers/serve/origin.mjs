// The origin where there is no nginx. Argument: the port.
import { createServer } from "node:http"

const small = Buffer.alloc(100, "x")
const large = Buffer.alloc(16_384, "x")

createServer((request, response) => {
  request.resume()
  const body = request.url?.endsWith("/large") ? large : small
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length })
  response.end(body)
}).listen(Number(process.argv[2]), "127.0.0.1")
