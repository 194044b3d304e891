// node-coap with a value at /t/bench. Argument: the port.
import { createServer } from "coap"

let value = Buffer.alloc(0)
createServer((request, response) => {
  if (request.method === "PUT") {
    value = request.payload
    response.code = "2.04"
    response.end()
  } else {
    response.end(value)
  }
}).listen(Number(process.argv[2]), "127.0.0.1")
