// The same proxies with TLS and HTTP/2 in front: one ECDSA P-256 certificate for all of
// them, TLS 1.2 and 1.3, sessions resumed by tickets.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { output, scratch } from "../lib/process.mjs"
import { haproxyFront, nginxFront } from "./http.mjs"
import { tidegateFront } from "./tidegate.mjs"

const folder = scratch()
const [cert, key, both] = ["cert.pem", "key.pem", "both.pem"].map((name) => join(folder, name))
const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
output("openssl", ["req", "-x509", ...curve, "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost"])
writeFileSync(both, readFileSync(cert) + readFileSync(key))

const nginxTls = [`ssl_certificate ${cert}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3;`]

/** HTTP/1.1 or HTTP/2 in TLS, as the client offers. */
export const TLS_PEERS = [
  tidegateFront({ tls: { cert, key } }),
  nginxFront("ssl http2", nginxTls),
  haproxyFront(`ssl crt ${both} alpn h2,http/1.1 ssl-min-ver TLSv1.2`),
]

/** HTTP/2 by prior knowledge on both sides; nginx speaks none to its upstreams. */
export const H2C_BOTH_PEERS = [tidegateFront({ protocol: "h2c" }), haproxyFront("proto h2", "proto h2")]

/** HTTP/2 by prior knowledge. */
export const H2C_PEERS = [tidegateFront(), nginxFront("http2"), haproxyFront("proto h2")]
