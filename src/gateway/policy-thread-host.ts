/**
 * Keeps the threads of the policies: new ones for each configuration, since their code
 * may have changed, and another one in the place of one whose event loop stands still.
 * Each answers some of the workers, so that a connection is always asked about in the same one.
 * Requests meanwhile get the fallback of their policy.
 */
import { extname } from "node:path"
import { Worker } from "node:worker_threads"
import { messageOf, TidegateError } from "../errors.ts"
import type { ProgramData } from "../plan/index.ts"
import type { Functions } from "../policy/index.ts"
import type { PolicyHost, PolicyHostContext, PreparedPolicies } from "./policy-host.ts"
import { type FromThread, type ThreadData, type ToThread, WATCH } from "./policy-thread.ts"

export interface ThreadHostOptions {
  /** The configuration the thread imports. */
  readonly file: string
  /** Without a beat for that long the thread is replaced; default 1,000. */
  readonly stuckMs?: number
  /** Compiled `policy-thread.js`; default: beside this file. Tests that run from source name the one in dist/. */
  readonly entry?: URL
}

const ANSWER_MS = 30_000
const LOOK_MS = 100
/** How long an old thread may finish what it began before the change. */
const RETIRE_MS = 2_000

/** One thread with what it runs. */
interface Thread {
  /** Its place among the threads. */
  readonly shard: number
  readonly worker: Worker
  readonly watch: Int32Array
  readonly programs: readonly ProgramData[]
  beat: number
  beatAt: number
}

export class PolicyThreadHost implements PolicyHost {
  readonly #context: PolicyHostContext
  readonly #options: ThreadHostOptions
  readonly #timer: NodeJS.Timeout
  /** By their places; null: there is none now. */
  #threads: (Thread | null)[] = []
  #programs: readonly ProgramData[] = []
  #closed = false

  constructor(context: PolicyHostContext, options: ThreadHostOptions) {
    this.#context = context
    this.#options = options
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  async prepare(program: ProgramData, _functions: Functions): Promise<PreparedPolicies> {
    const [before, current] = [this.#threads, this.#programs]
    const isEmpty = program.scripts.length + program.handlers.length === 0
    const next = isEmpty && before.length === 0 ? [] : await this.#loadAll([...current.slice(-1), program])
    const commit = (): void => {
      this.#programs = [program]
      for (const thread of before) if (thread !== null) retire(thread)
    }
    const rollback = async (): Promise<void> => {
      this.#threads = before
      for (const thread of before) if (thread !== null) await this.#attach(thread)
      await Promise.all(next.map(({ worker }) => worker.terminate()))
    }
    try {
      for (const thread of next) await this.#attach(thread)
    } catch (error) {
      await rollback()
      throw error
    }
    return { commit, rollback }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await Promise.all(this.#threads.map((thread) => thread?.worker.terminate()))
    this.#threads = []
  }

  /** One for each place, or none: where one does not load, none is kept. */
  async #loadAll(programs: readonly ProgramData[]): Promise<readonly Thread[]> {
    const count = Math.min(this.#context.threads, this.#context.workers)
    const loading = Array.from({ length: count }, (_, shard) => this.#load(programs, shard))
    const loaded = await Promise.allSettled(loading)
    const failed = loaded.find((one) => one.status === "rejected")
    const threads = loaded.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))
    if (failed === undefined) return threads
    await Promise.all(threads.map(({ worker }) => worker.terminate()))
    throw failed.reason
  }

  /** The workers that the thread at a place answers. */
  #workersOf(shard: number): number[] {
    const { workers, threads } = this.#context
    const count = Math.min(threads, workers)
    return Array.from({ length: workers }, (_, worker) => worker).filter((worker) => worker % count === shard)
  }

  /** A thread that has loaded everything and is asked nothing yet. */
  async #load(programs: readonly ProgramData[], shard: number): Promise<Thread> {
    const watch = new Int32Array(new SharedArrayBuffer(WATCH.words * 4))
    const data: ThreadData = { file: this.#options.file, workers: this.#workersOf(shard), watch }
    const { entry = new URL(`./policy-thread${extname(import.meta.url)}`, import.meta.url) } = this.#options
    // Loader hooks of the main thread are not for a compiled entry.
    const execArgv = this.#options.entry === undefined ? {} : { execArgv: [] }
    const worker = new Worker(entry, { workerData: data, name: "tidegate-policies", ...execArgv })
    worker.unref()
    worker.on("error", (error) => this.#complain(error))
    worker.on("message", (message: FromThread) => {
      if (message.type === "complain") this.#context.complain(message.text)
      if (message.type === "shadow") this.#context.shadow(message.report)
    })
    const thread: Thread = { shard, worker, watch, programs, beat: 0, beatAt: performance.now() }
    try {
      await this.#ask(thread, { type: "install", programs })
      return thread
    } catch (error) {
      await worker.terminate()
      throw error
    }
  }

  /** From now on that one is asked; native passes on what the one before has not answered. */
  async #attach(to: Thread): Promise<void> {
    await this.#ask(to, { type: "attach", gatewayId: this.#context.gatewayId })
    to.beatAt = performance.now()
    this.#threads = Object.assign([...this.#threads], { [to.shard]: to })
  }

  #ask({ worker }: Thread, message: ToThread): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        clearTimeout(timer)
        worker.off("message", take)
        worker.off("exit", gone)
        outcome()
      }
      const fail = (text: string) => settle(() => reject(new TidegateError("POLICY_THREAD_FAILED", text)))
      const take = (answer: FromThread): void => {
        if (answer.type === "done") settle(resolve)
        if (answer.type === "failed") fail(answer.text)
      }
      const gone = (): void => fail("the policy thread ended")
      const timer = setTimeout(() => fail(`no answer to "${message.type}" within ${ANSWER_MS / 1_000} s`), ANSWER_MS)
      worker.on("message", take)
      worker.on("exit", gone)
      worker.postMessage(message)
    })
  }

  /** The watchdog. */
  #look(): void {
    for (const thread of this.#threads) if (thread) this.#lookAt(thread)
  }

  #lookAt(thread: Thread): void {
    const beat = Atomics.load(thread.watch, WATCH.beat)
    const now = performance.now()
    if (beat !== thread.beat) [thread.beat, thread.beatAt] = [beat, now]
    if (now - thread.beatAt < (this.#options.stuckMs ?? 1_000)) return
    this.#threads = Object.assign([...this.#threads], { [thread.shard]: null })
    void this.#replace(thread)
  }

  async #replace(stuck: Thread): Promise<void> {
    const running = Atomics.load(stuck.watch, WATCH.running)
    const script = running === 0 ? undefined : stuck.programs.at(-1)?.scripts[running - 1]
    this.#context.complain(`the policy thread stood still${script ? ` in "${script.policy}"` : ""}; it is replaced`)
    await stuck.worker.terminate()
    if (this.#closed || this.#threads[stuck.shard] !== null) return
    try {
      await this.#attach(await this.#load(stuck.programs, stuck.shard))
    } catch (error) {
      this.#complain(error)
    }
  }

  #complain(error: unknown): void {
    this.#context.complain(`policy thread: ${messageOf(error)}`)
  }
}

function retire({ worker }: Thread): void {
  setTimeout(() => void worker.terminate(), RETIRE_MS).unref()
}
