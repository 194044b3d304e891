/** The dashboard in a real browser, driven by its debugging protocol: wide and narrow, light and dark. */
import ava from "ava"
import { Browser } from "./browser.ts"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let browser: Browser | null = null

ava.before(async () => {
  const upstreams = { api: { endpoints: ["127.0.0.1:9"], health: { tcp: true } } }
  gateway = await runGateway({
    admin: { address: "127.0.0.1:0" },
    upstreams,
    routes: [
      { name: "hello", when: { path: "/hello" }, to: { respond: { status: 200, body: "hello" } } },
      { name: "away", when: { path: "/away" }, to: "api" },
    ],
  })
  if (has("chromium", "chromium")) browser = await Browser.open()
})
ava.after.always(async () => {
  await gateway?.stop()
  await browser?.close()
})

test("the page is served without anything from elsewhere, below 100 KB", async (t) => {
  const page = await fetch(`${gateway.admin}/`)
  t.regex(page.headers.get("content-security-policy") ?? "", /default-src 'none'.*script-src 'self'/)
  const html = await page.text()
  const parts = [...html.matchAll(/(?:src|href)="(\/dashboard\/[^"]+)"/g)].map(([, path]) => path)
  t.is(parts.length, 2)
  const sizes = await Promise.all(
    parts.map(async (path) => (await (await fetch(gateway.admin + path)).arrayBuffer()).byteLength),
  )
  t.true(html.length + sizes.reduce((sum, size) => sum + size, 0) < 100_000, sizes.join(" "))
  t.is((await fetch(`${gateway.admin}/dashboard/%2e%2e%2fpackage.json`)).status, 404)
})

for (const { name, width, scheme } of [
  { name: "on a wide screen, light", width: 1_280, scheme: "light" },
  { name: "on a phone, dark", width: 390, scheme: "dark" },
]) {
  test(`shows what happens ${name}`, async (t) => {
    if (browser === null) return t.pass("no browser here")
    const page = await browser.page({ width, scheme })
    await page.go(`${gateway.admin}/`)
    const asking = setInterval(() => run("curl", ["-s", `http://127.0.0.1:${gateway.port}/hello`]), 200)
    // The legend names a protocol once two looks have found a rate.
    const text = await page.saw(/running(?=[\s\S]*http1)[\s\S]*hello[\s\S]*unhealthy/)
    clearInterval(asking)
    t.regex(text, /api · 127\.0\.0\.1:9/)
    t.is(await page.value("document.querySelectorAll('.chart canvas').length"), 1)
    t.true(Number(await page.value("document.documentElement.scrollWidth")) <= width, "nothing stands out to the right")
    const [red = 0] = String(await page.value("getComputedStyle(document.body).backgroundColor")).match(/\d+/g) ?? []
    t.is(Number(red) < 128, scheme === "dark")
    t.deepEqual(page.complaints, [])
    await page.close()
  })
}
