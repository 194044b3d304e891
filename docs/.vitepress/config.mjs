// The documentation as a site: `npm run docs` in the root builds it into docs/.vitepress/dist.
import { defineConfig } from "vitepress"

const page = (text, link) => ({ text, link })

export default defineConfig({
  title: "Tidegate",
  description: "The IoT gateway that you program in TypeScript and that runs at the speed of Rust",
  // ARCHITECTURE.md is shown here as it stands in the root: its links to docs/ lead to pages beside it.
  markdown: {
    config: (md) => {
      md.core.ruler.push("from-the-root", ({ tokens }) => {
        for (const link of tokens.flatMap(({ children }) => children ?? []).filter(({ type }) => type === "link_open"))
          link.attrSet("href", String(link.attrGet("href")).replace(/^(\.\/)?docs\//, "./"))
      })
    },
  },
  // Relative links that leave docs/ lead to files of the repository; a test holds those.
  ignoreDeadLinks: [/^(\.\/)?\.\.\//, /\/(README|CONTRIBUTING|ARCHITECTURE|CHANGELOG)$/],
  srcExclude: ["node_modules/**"],
  themeConfig: {
    search: { provider: "local" },
    nav: [page("Guide", "/quick-start"), page("Reference", "/reference/config"), page("Changelog", "/changelog")],
    sidebar: [
      {
        text: "Guide",
        items: [
          page("Quick start", "/quick-start"),
          page("Concepts", "/concepts"),
          page("Configuration", "/configuration"),
          page("Policies and handlers", "/policies"),
          page("Policy cookbook", "/cookbook"),
          page("Coming from elsewhere", "/migrating"),
        ],
      },
      {
        text: "Protocols",
        items: [
          page("HTTP, event streams, WebSocket", "/http"),
          page("MQTT", "/mqtt"),
          page("MQTT proxy", "/mqtt-proxy"),
          page("Bridges", "/bridges"),
          page("CoAP", "/coap"),
          page("TLS", "/tls"),
        ],
      },
      {
        text: "Running it",
        items: [
          page("Users and rules", "/access"),
          page("Durability", "/durability"),
          page("Security model", "/security"),
          page("Performance", "/performance"),
          page("Command line", "/cli"),
          page("Metrics", "/metrics"),
          page("Traces", "/tracing"),
          page("Logs", "/logs"),
        ],
      },
      {
        text: "Reference",
        items: [
          page("Every configuration key", "/reference/config"),
          page("Every command", "/reference/commands"),
          page("Every error code", "/reference/errors"),
          page("Limits and defaults", "/limits"),
          page("TypeScript API", "/reference/api/"),
          page("Codecs", "/codec"),
          page("MQTT conformance", "/mqtt-conformance"),
          page("CoAP conformance", "/coap-conformance"),
        ],
      },
      { text: "Inside", items: [page("Architecture", "/architecture"), page("One message through the house", "/lifecycle")] },
    ],
  },
})
