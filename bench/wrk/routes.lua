-- Requests over 64 routes in turn, written once before the run.
-- Arguments: what stands behind the route ("small", "large" or "huge"), bytes of a POST body
-- (0: GET), and "close" for a new connection each.
local requests, next_request = {}, 0

function init(args)
  local body = tonumber(args[2] or "0")
  local headers = { ["Host"] = "bench", ["User-Agent"] = "bench/1.0", ["Accept"] = "*/*" }
  if args[3] == "close" then headers["Connection"] = "close" end
  if body > 0 then headers["Content-Type"] = "application/octet-stream" end
  for route = 0, 63 do
    local path = "/r" .. route .. "/" .. (args[1] or "small")
    local method = body > 0 and "POST" or "GET"
    requests[route] = wrk.format(method, path, headers, body > 0 and string.rep("x", body) or nil)
  end
end

function request()
  next_request = (next_request + 1) % 64
  return requests[next_request]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result {"requests":%d,"seconds":%.3f,"bytes":%d,"p50Us":%d,"p99Us":%d,"badStatus":%d,"socketErrors":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
