/**
 * The thread in which policies and handlers run under `tidegate run`. It imports the
 * configuration by itself, so that nothing a policy does can stop the main thread. A
 * beat in shared memory tells the watchdog that its event loop still turns.
 */
import { parentPort, workerData } from "node:worker_threads"
import { loadConfig } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { ShadowReport } from "../model/shadow.ts"
import { loadNative } from "../native/index.ts"
import { type ProgramData, toProgram } from "../plan/index.ts"
import { PolicyRunner } from "../runner/index.ts"

/** What the thread is started with. */
export interface ThreadData {
  readonly file: string
  /** Those that this thread answers. */
  readonly workers: readonly number[]
  /** Over shared memory: word 0 what runs, word 1 the beat. */
  readonly watch: Int32Array
}

/** Words of `ThreadData.watch`. */
export const WATCH = { running: 0, beat: 1, words: 2 } as const

export type ToThread =
  | { readonly type: "install"; readonly programs: readonly ProgramData[] }
  | { readonly type: "attach"; readonly gatewayId: number }

export type FromThread =
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly text: string }
  | { readonly type: "complain"; readonly text: string }
  | { readonly type: "shadow"; readonly report: ShadowReport }

export const BEAT_MS = 25

async function serve({ file, workers, watch }: ThreadData): Promise<void> {
  const send = (message: FromThread): void => parentPort?.postMessage(message)
  setInterval(() => Atomics.add(watch, WATCH.beat, 1), BEAT_MS)
  const { functions } = await loadConfig(file)
  const runner = new PolicyRunner({
    workers,
    complain: (text) => send({ type: "complain", text }),
    shadow: (report) => send({ type: "shadow", report }),
    mark: watch,
  })
  const handle = (message: ToThread): void => {
    if (message.type === "install") runner.install(message.programs.map((program) => toProgram(program, functions)))
    else runner.attach(loadNative(), message.gatewayId)
    send({ type: "done" })
  }
  parentPort?.on("message", (message: ToThread) => {
    try {
      handle(message)
    } catch (error) {
      send({ type: "failed", text: messageOf(error) })
    }
  })
}

if (parentPort !== null && isThreadData(workerData)) {
  serve(workerData).catch((error: unknown) => {
    parentPort?.postMessage({ type: "failed", text: messageOf(error) } satisfies FromThread)
  })
}

function isThreadData(data: unknown): data is ThreadData {
  return typeof data === "object" && data !== null && "watch" in data && "file" in data
}
