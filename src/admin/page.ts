/** `/`: one page that shows the state of the gateway and lists the calls; the dashboard takes its place later. */
import type { FastifyInstance } from "fastify"
import type { AdminContext } from "./context.ts"

export function addPage(app: FastifyInstance, { gateway }: AdminContext): void {
  app.get("/", { schema: { hide: true } }, async (_, reply) => {
    const { state, version, listeners } = gateway.stats()
    const rows = listeners.map(
      ({ name, address }) => `<li><code>${escaped(name)}</code> on <code>${escaped(address)}</code></li>`,
    )
    const body = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Tidegate</title>
<style>body{font:16px system-ui;max-width:50rem;margin:3rem auto;padding:0 1rem}code{background:#eee;padding:.1em .3em}</style>
<h1>Tidegate</h1><p>${escaped(state)}, plan ${version}</p><ul>${rows.join("")}</ul>
<p><a href="/openapi.json">openapi.json</a> · <a href="/metrics">metrics</a> · <a href="/v1/connections">connections</a> ·
<a href="/v1/upstreams">upstreams</a> · <a href="/v1/routes">routes</a> · <a href="/v1/services">services</a> ·
<a href="/v1/config">config</a></p></html>`
    return reply
      .type("text/html; charset=utf-8")
      .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
      .send(body)
  })
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
}
