// The origin where there is no nginx. Argument: the port.
import { createServer } from "node:http"

const small = Buffer.alloc(100, "x")
const longer = { "/large": Buffer.alloc(16_384, "x"), "/huge": Buffer.alloc(1_048_576, "x") }

createServer((request, response) => {
  request.resume()
  const body = longer[/\/[^/]*$/.exec(request.url)?.[0]] ?? small
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length })
  response.end(body)
}).listen(Number(process.argv[2]), "127.0.0.1")
