/** `/`: the dashboard, three files that were bundled from src/dashboard. */
import { readFileSync } from "node:fs"
import type { FastifyInstance } from "fastify"
import { sendProblem } from "./problem.ts"

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ")

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidegate</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/dashboard/main.css">
<script type="module" src="/dashboard/main.js"></script>
<noscript>The dashboard needs JavaScript; the numbers are in <a href="/metrics">metrics</a> and <a href="/openapi.json">the admin API</a>.</noscript>
</html>
`

const FILES: Readonly<Record<string, string>> = { "main.js": "text/javascript", "main.css": "text/css" }

export function addPage(app: FastifyInstance): void {
  app.get("/", { schema: { hide: true } }, async (_, reply) =>
    reply.type("text/html; charset=utf-8").header("content-security-policy", POLICY).send(PAGE),
  )
  app.get<{ Params: { file: string } }>("/dashboard/:file", { schema: { hide: true } }, async ({ params }, reply) => {
    const type = FILES[params.file]
    const content = type === undefined ? null : bundled(params.file)
    if (content === null) return sendProblem(reply, 404, "the dashboard has no such file; npm run build makes them")
    return reply.type(`${type}; charset=utf-8`).send(content)
  })
}

/** Of this package's dist/, also where it runs from src/. Null where it was not built. */
function bundled(file: string): Buffer | null {
  try {
    return readFileSync(new URL(`../../dist/dashboard/${file}`, import.meta.url))
  } catch {
    return null
  }
}
