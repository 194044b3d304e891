/** Chromium, driven by its debugging protocol: pages that are opened, asked and waited for. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { WebSocket } from "ws"

interface Reply {
  readonly id?: number
  readonly method?: string
  readonly result?: Readonly<Record<string, unknown>>
  readonly params?: unknown
  readonly sessionId?: string
}

export class Browser {
  #next = 0
  readonly #waiting = new Map<number, (result: Readonly<Record<string, unknown>>) => void>()
  readonly #pages = new Map<string, Page>()
  readonly #process: ChildProcess
  readonly #socket: WebSocket
  readonly #folder: string

  private constructor(process: ChildProcess, socket: WebSocket, folder: string) {
    this.#process = process
    this.#socket = socket
    this.#folder = folder
    socket.on("message", (data) => this.#take(JSON.parse(String(data)) as Reply))
  }

  static async open(): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), "tidegate-browser-"))
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    const chromium = spawn("chromium", [...flags, `--user-data-dir=${folder}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    })
    for await (const line of createInterface({ input: chromium.stderr })) {
      const [, url] = /DevTools listening on (ws:\S+)/.exec(line) ?? []
      if (url === undefined) continue
      chromium.stderr.resume()
      const socket = new WebSocket(url)
      await once(socket, "open")
      return new Browser(chromium, socket, folder)
    }
    throw new Error("chromium did not start")
  }

  async page({ width, scheme }: { width: number; scheme: string }): Promise<Page> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" })
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true })
    const page = new Page((method, params) => this.call(method, params, String(sessionId)), String(targetId))
    this.#pages.set(String(sessionId), page)
    for (const domain of ["Runtime", "Log", "Page"]) await page.call(`${domain}.enable`)
    const size = { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 }
    await page.call("Emulation.setDeviceMetricsOverride", size)
    await page.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] })
    return page
  }

  call(method: string, params: object = {}, sessionId?: string): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#next
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId !== undefined && { sessionId }) }))
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  #take({ id, method, result, params, sessionId }: Reply): void {
    if (id !== undefined) this.#waiting.get(id)?.(result ?? {})
    if (method === "Runtime.exceptionThrown" || method === "Log.entryAdded")
      this.#pages.get(sessionId ?? "")?.complaints.push(JSON.stringify(params))
  }

  async close(): Promise<void> {
    const ended = once(this.#process, "exit")
    // Its helpers are of its group, and may write into the folder for a moment longer than it lives.
    process.kill(-(this.#process.pid ?? Number.NaN), "SIGKILL")
    await ended
    await emptied(this.#folder)
  }
}

/** Removes a folder that others may still write into. */
async function emptied(folder: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return rmSync(folder, { recursive: true, force: true })
    } catch (error) {
      if (tries === 50) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

export class Page {
  readonly complaints: string[] = []
  readonly call: (method: string, params?: object) => Promise<Readonly<Record<string, unknown>>>
  readonly #target: string

  constructor(call: Page["call"], target: string) {
    this.call = call
    this.#target = target
  }

  async go(url: string): Promise<void> {
    await this.call("Page.navigate", { url })
  }

  /** What an expression comes to; a promise is waited for. */
  async value(expression: string): Promise<string | number> {
    const { result } = await this.call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true })
    return (result as { value: string | number }).value
  }

  /** The page's text once it matches. */
  async saw(pattern: RegExp): Promise<string> {
    let text = ""
    for (const end = Date.now() + 20_000; Date.now() < end; ) {
      text = String((await this.value("document.body?.innerText ?? ''")) ?? "")
      if (pattern.test(text)) return text
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`the page never showed ${pattern}:\n${text}\n${this.complaints.join("\n")}`)
  }

  async close(): Promise<void> {
    await this.call("Target.closeTarget", { targetId: this.#target })
  }
}
