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
    t.regex(text, /api[\s\S]*127\.0\.0\.1:9/)
    t.is(await page.value("document.querySelectorAll('.chart canvas').length"), 1)
    t.true(Number(await page.value("document.documentElement.scrollWidth")) <= width, "nothing stands out to the right")
    const [red = 0] = String(await page.value("getComputedStyle(document.body).backgroundColor")).match(/\d+/g) ?? []
    t.is(Number(red) < 128, scheme === "dark")
    t.deepEqual(page.complaints, [])
    await page.close()
  })
}

test("of many upstreams it shows those in trouble, and says how many there are", async (t) => {
  if (browser === null) return t.pass("no browser here")
  const endpoints = Array.from({ length: 6 }, (_, index) => `127.0.0.1:${index + 1}`)
  const quiet = Array.from({ length: 20 }, (_, index) => [`quiet-${index}`, { endpoints: [endpoints[0]] }] as const)
  const many = await runGateway({
    admin: { address: "127.0.0.1:0" },
    upstreams: {
      ...Object.fromEntries(quiet),
      troubled: { endpoints, health: { tcp: true, intervalMs: 100, fall: 1 } },
    },
  })
  t.teardown(() => many.stop())
  const page = await browser.page({ width: 390, scheme: "light" })
  await page.go(`${many.admin}/`)
  const text = await page.saw(/Upstreams, 8 of 21\s[\s\S]*troubled[\s\S]*unhealthy[\s\S]*and 2 more/)
  t.true(text.indexOf("troubled") < text.indexOf("quiet-0"))
  t.true(Number(await page.value("document.documentElement.scrollWidth")) <= 390, "nothing stands out to the right")
  await page.close()
})

test("says that the gateway is gone, and goes on when it is back", async (t) => {
  if (browser === null) return t.pass("no browser here")
  const first = await runGateway()
  const page = await browser.page({ width: 1_280, scheme: "light" })
  await page.go(`${first.admin}/`)
  await page.saw(/running/)
  await first.stop()
  await page.saw(/no answer[\s\S]*The gateway does not answer\. What stands here is from \d\d:\d\d:\d\d/)
  t.is(await page.value("document.querySelectorAll('[role=alert]').length"), 1)
  const second = await runGateway({ admin: { address: first.admin.replace("http://", "") } })
  t.teardown(() => second.stop())
  await page.saw(/running/)
  t.is(await page.value("document.querySelectorAll('[role=alert]').length"), 0)
  await page.close()
})

test("asks for the token, and says when it is not the right one", async (t) => {
  if (browser === null) return t.pass("no browser here")
  const guarded = await runGateway({ admin: { address: "127.0.0.1:0", token: "s3cret" } })
  t.teardown(() => guarded.stop())
  const page = await browser.page({ width: 390, scheme: "dark" })
  await page.go(`${guarded.admin}/`)
  t.notRegex(await page.saw(/Token of the admin API/), /not the right one/)
  await page.value("sessionStorage.setItem('tidegate-token', 'guess'), location.reload()")
  await page.saw(/That token is not the right one/)
  await page.value("sessionStorage.setItem('tidegate-token', 's3cret'), location.reload()")
  await page.saw(/running/)
  await page.close()
})
