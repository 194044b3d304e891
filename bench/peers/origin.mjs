// The server behind every proxy: nginx where it is installed, else Node. It answers
// 100 bytes to everything, 16 KiB to paths that end in /large, and 1 MiB to /huge.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CORE } from "../lib/process.mjs"
import { nginx, nginxArgs, serve } from "./http.mjs"

/** Bytes of the answers. */
export const SIZES = { small: 100, large: 16_384, huge: 1_048_576 }

/** `words` stand behind its address, as nginx has them. */
export function startOrigin(words = "") {
  if (nginx.missing() !== undefined) {
    if (words !== "") throw new Error(`nginx is the origin of this shape: ${nginx.missing()}`)
    const program = fileURLToPath(new URL("./serve/origin.mjs", import.meta.url))
    return serve(CORE.load, process.execPath, (port) => [program, String(port)])
  }
  return serve(CORE.load, "nginx", (port, folder) => {
    for (const name of ["large", "huge"]) writeFileSync(join(folder, `${name}.bin`), "x".repeat(SIZES[name]))
    return nginxArgs(folder, [
      "access_log off; open_file_cache max=10 inactive=1h; default_type application/octet-stream;",
      `server { listen 127.0.0.1:${port} ${words}; root ${folder};`,
      `  location / { return 200 "${"x".repeat(SIZES.small)}"; }`,
      "  location ~ /(large|huge)$ { try_files /$1.bin =404; }",
      "}",
    ])
  })
}

/** One that takes WebSockets. */
export function startSocketOrigin() {
  const program = fileURLToPath(new URL("./serve/ws-origin.mjs", import.meta.url))
  return serve(CORE.load, process.execPath, (port) => [program, String(port)])
}
