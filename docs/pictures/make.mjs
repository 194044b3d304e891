// The pictures of concepts.md: boxes and arrows from one table. node docs/pictures/make.mjs
import { writeFileSync } from "node:fs"

const STYLE = `<style>text{font:13px system-ui,sans-serif;fill:#1c2733}.small{font-size:11px;fill:#5f6b7a}rect{fill:#eef4fb;stroke:#2a7de1}.core{fill:#dbe9f8}.side{fill:#f6efe3;stroke:#d9822b}path{fill:none;stroke:#5f6b7a;marker-end:url(#a)}</style><defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" style="fill:#5f6b7a;stroke:none"/></marker></defs>`
const W = 130
const H = 44

/** `boxes`: name -> [column, row, text, second line?, class?]; `arrows`: [from, to, label?]. */
const PICTURES = {
  "one-port": {
    boxes: {
      mqtt: [0, 0, "MQTT client"], http: [0, 1, "browser, curl"], grpc: [0, 2, "gRPC client"], coap: [0, 3, "CoAP device"],
      tcp: [1.4, 1, "TCP 7000", "first bytes tell", "core"], udp: [1.4, 3, "UDP 5683", "", "core"],
      broker: [2.8, 0.5, "broker", "topics"], proxy: [2.8, 2, "proxy", "routes"], api: [4.2, 2, "services", "balanced", "side"],
    },
    arrows: [["mqtt", "tcp"], ["http", "tcp"], ["grpc", "tcp"], ["coap", "udp"], ["tcp", "broker"], ["tcp", "proxy"], ["udp", "broker"], ["udp", "proxy"], ["proxy", "api"]],
  },
  topics: {
    boxes: {
      pub: [0, 1, "publish", "plant/1/temp"], tree: [1.4, 1, "topic tree", "one for all", "core"],
      session: [2.8, 0, "MQTT session", "kept on disk"], observer: [2.8, 1, "CoAP observer"], stream: [2.8, 2, "event stream", "or JSON frames"],
      retained: [1.4, 2.4, "last value", "retained", "side"],
    },
    arrows: [["pub", "tree"], ["tree", "session"], ["tree", "observer"], ["tree", "stream"], ["tree", "retained"]],
  },
  routing: {
    boxes: {
      in: [0, 1, "request or", "publish"], index: [1.4, 1, "route index", "host, path, topic", "core"], steps: [2.8, 1, "steps", "policies"],
      up: [4.2, 0, "upstream"], topic: [4.2, 1, "topic"], own: [4.2, 2, "answer, handler", "", "side"],
    },
    arrows: [["in", "index"], ["index", "steps"], ["steps", "up"], ["steps", "topic"], ["steps", "own"]],
  },
  balancing: {
    boxes: {
      req: [0, 1, "request"], gate: [1.4, 1, "limits, breaker", "", "core"], pick: [2.8, 1, "balancer", "", "core"],
      a: [4.2, 0, "endpoint a"], b: [4.2, 1, "endpoint b"], c: [4.2, 2, "endpoint c", "ejected", "side"],
      checks: [2.8, 2.4, "checks, load, outliers", "", "side"],
    },
    arrows: [["req", "gate"], ["gate", "pick"], ["pick", "a"], ["pick", "b"], ["checks", "pick"], ["c", "checks"]],
  },
  durability: {
    boxes: {
      pub: [0, 1, "QoS 1 publish"], mem: [1.4, 1, "queue of the session", "", "core"], log: [2.8, 1, "segment log", "one write a wake-up", "core"],
      ack: [2.8, 2.2, "PUBACK", "leaves after it"], disk: [4.2, 1, "checkpoint", "what is live", "side"],
    },
    arrows: [["pub", "mem"], ["mem", "log"], ["log", "ack"], ["log", "disk"]],
  },
  plan: {
    boxes: {
      file: [0, 1, "configuration", "file or source", "side"], check: [1.4, 1, "checked", "every problem"], plan: [2.8, 1, "plan", "compiled aside", "core"],
      w1: [4.2, 0.3, "worker 1", "swaps"], w2: [4.2, 1.7, "worker 2", "swaps"], old: [2.8, 2.4, "plan before", "stays if it fails"],
    },
    arrows: [["file", "check"], ["check", "plan"], ["plan", "w1"], ["plan", "w2"], ["old", "plan"]],
  },
}

for (const [name, { boxes, arrows }] of Object.entries(PICTURES)) {
  const place = ([column, row]) => [10 + column * (W + 10), 10 + row * (H + 20)]
  const all = Object.values(boxes)
  const width = Math.max(...all.map((box) => place(box)[0])) + W + 10
  const height = Math.max(...all.map((box) => place(box)[1])) + H + 10
  const drawn = all.map((box) => {
    const [x, y] = place(box)
    const [, , text, second = "", kind = ""] = box
    const lines = second === "" ? `<text x="${x + W / 2}" y="${y + 27}" text-anchor="middle">${text}</text>` : `<text x="${x + W / 2}" y="${y + 19}" text-anchor="middle">${text}</text><text class="small" x="${x + W / 2}" y="${y + 35}" text-anchor="middle">${second}</text>`
    return `<rect class="${kind}" x="${x}" y="${y}" width="${W}" height="${H}" rx="6"/>${lines}`
  })
  const lines = arrows.map(([from, to]) => {
    const [[x1, y1], [x2, y2]] = [place(boxes[from]), place(boxes[to])]
    if (Math.abs(x1 - x2) < 10) return `<path d="M${x1 + W / 2} ${y2 > y1 ? y1 + H : y1} V${y2 > y1 ? y2 : y2 + H}"/>`
    const [sx, ex] = x2 > x1 ? [x1 + W, x2] : [x1, x2 + W]
    return `<path d="M${sx} ${y1 + H / 2} C${(sx + ex) / 2} ${y1 + H / 2} ${(sx + ex) / 2} ${y2 + H / 2} ${ex} ${y2 + H / 2}"/>`
  })
  writeFileSync(new URL(`${name}.svg`, import.meta.url), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width.toFixed(0)} ${height.toFixed(0)}" role="img" aria-label="${name}"><rect x="0" y="0" width="100%" height="100%" style="fill:#fff;stroke:none"/>${STYLE}${lines.join("")}${drawn.join("")}</svg>\n`)
}
