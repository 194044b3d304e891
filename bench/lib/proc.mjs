// What /proc says about a process and everything it started: CPU time and memory.
import { readdirSync, readFileSync } from "node:fs"

/** CLK_TCK is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10

/** A process and all that descend from it. */
export function tree(pid) {
  const children = new Map()
  for (const name of readdirSync("/proc")) {
    const parent = /^\d+$/.test(name) ? fields(name)?.[1] : undefined
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found = [pid]
  for (const one of found) found.push(...(children.get(String(one)) ?? []))
  return found
}

/** User and system time of a tree, milliseconds, with what ended children used. */
export function cpuMs(pid) {
  // proc(5): utime, stime, cutime, cstime are the fields 14 to 17.
  const ticks = (one) => (fields(one) ?? []).slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0)
  return tree(pid).reduce((sum, one) => sum + ticks(one), 0) * MS_PER_TICK
}

/** Resident memory of a tree that is its own (not file-backed), KiB. */
export function memoryKiB(pid) {
  return tree(pid).reduce((sum, one) => sum + anonymous(one), 0)
}

/** Threads of a tree as `{ pid, tid, name }`. */
export function threads(pid) {
  return tree(pid).flatMap((one) => {
    const ids = listed(`/proc/${one}/task`)
    return ids.map((tid) => ({ pid: one, tid: Number(tid), name: text(`/proc/${one}/task/${tid}/comm`).trim() }))
  })
}

/** Fields from the state on: the name before them may hold anything. */
function fields(pid) {
  const stat = text(`/proc/${pid}/stat`)
  return stat === "" ? undefined : stat.slice(stat.lastIndexOf(")") + 2).split(" ")
}

function anonymous(pid) {
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(text(`/proc/${pid}/status`))?.[1] ?? 0)
}

/** A process may end between two looks. */
function text(path) {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

function listed(path) {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
