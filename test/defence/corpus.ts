/**
 * The corpus of hostile requests (`corpus/*.json`), and what a server makes of one: a
 * verdict as text, such as `GET /x 0; refused 400, closed`: what reached the origin,
 * what was refused, and whether the connection is still open.
 */
import { readdirSync, readFileSync } from "node:fs"
import { connect } from "node:net"

export interface Case {
  readonly group: string
  readonly name: string
  /** Characters are bytes (latin1); `{{text*n}}` stands for n times the text. */
  readonly request: string
  /** Why Tidegate decides as it does, and with it why others that do not are not followed. */
  readonly why: string
  /** Tidegate's verdict. */
  readonly tidegate: string
}

const folder = new URL("corpus/", import.meta.url)

export function loadCorpus(): Case[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"))
  return files.sort().flatMap((file) => {
    const cases = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Omit<Case, "group">[]
    return cases.map((entry) => ({ ...entry, group: file.slice(0, -5) }))
  })
}

export function toBytes(request: string): Buffer {
  const whole = request.replaceAll(/\{\{([\s\S]*?)\*(\d+)\}\}/g, (_, text: string, count) => text.repeat(Number(count)))
  return Buffer.from(whole, "latin1")
}

/** Sends a request on a connection of its own; the verdict stands once nothing came for `quietMs`. */
export function verdictOf(port: number, request: string, quietMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(toBytes(request)))
    let text = ""
    const end = (closed: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(describe(text, closed))
    }
    let timer = setTimeout(end, quietMs, false)
    socket.on("data", (data) => {
      text += data.toString("latin1")
      clearTimeout(timer)
      timer = setTimeout(end, quietMs, false)
    })
    socket.on("error", () => end(true))
    socket.on("end", () => end(true))
  })
}

/** Answers of the origin by what it saw, own ones by their status; interim ones are not told. */
function describe(text: string, closed: boolean): string {
  const heads = text.split(/^(?=HTTP\/1\.[01] \d{3})/m).filter((part) => part.startsWith("HTTP/1."))
  const answers = heads.flatMap((head) => {
    const saw = /^x-saw: (.*)\r$/im.exec(head)?.[1]
    const status = head.slice(9, 12)
    if (status === "100") return []
    return [saw ?? `refused ${status}`]
  })
  if (answers.length === 0) return closed ? "closed" : "waits"
  return `${answers.join("; ")}${closed ? ", closed" : ""}`
}

/** Runs `work` for each entry, `width` at a time; results in the order of the entries. */
export async function each<T, R>(entries: readonly T[], width: number, work: (entry: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < entries.length) {
      const index = next++
      results[index] = await work(entries[index] as T)
    }
  }
  await Promise.all(Array.from({ length: width }, lane))
  return results
}
