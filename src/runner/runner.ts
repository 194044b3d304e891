/**
 * Runs policies and handlers of one thread: takes what native queued on the decision
 * rings, calls the function, writes the answer in place and kicks each worker once a
 * batch. Nothing a function does escapes from here: what it throws is an outcome.
 */
import { messageOf } from "../errors.ts"
import type { PolicyMessage, Verdict } from "../model/message.ts"
import type { ShadowReport } from "../model/shadow.ts"
import {
  createDecisionRing,
  type DecisionRequest,
  DecisionRing,
  type FieldPlan,
  type NativeModule,
  type PolicyPort,
  SLOT_KIND,
  SLOT_OUTCOME,
} from "../native/index.ts"
import type { AnyPolicy, BalancerDefinition, HandlerDefinition } from "../policy/index.ts"
import { payloadOf } from "./broker-verdict.ts"
import { EndpointList } from "./endpoint-list.ts"
import { toHandlerMessage, toReplyRecord } from "./handler-message.ts"
import { createPolicyMessage } from "./message.ts"
import { Shadows } from "./shadow.ts"
import { toAnswer } from "./verdict.ts"

/** One entry of a plan's script table with its function. */
export interface Script {
  readonly policy: AnyPolicy
  readonly options: Readonly<Record<string, unknown>>
  readonly reads: readonly FieldPlan[]
  /** A balancer, which is asked instead of the policy. */
  readonly balance: { readonly balancer: BalancerDefinition; readonly upstream: string } | null
}

/** The functions a plan's indexes stand for. */
export interface Program {
  readonly planVersion: number
  readonly scripts: readonly Script[]
  readonly handlers: readonly HandlerDefinition[]
}

/** Tells what went wrong in user code. */
export type Complain = (text: string) => void

/** Where a watchdog can read what runs: word 0 is 0 when idle, else 1 + the script or handler index. */
export type RunningMark = Int32Array

export interface RunnerOptions {
  /** The workers that this thread answers, by their numbers. */
  readonly workers: readonly number[]
  readonly complain: Complain
  /** Takes what versions in shadow came to. */
  readonly shadow?: (report: ShadowReport) => void
  readonly mark?: RunningMark
}

/** Requests taken in one go before other work of the thread gets its turn. */
const BATCH = 512

export class PolicyRunner {
  readonly #memory: readonly Uint8Array[]
  readonly #workers: readonly number[]
  readonly #rings: ReadonlyMap<number, DecisionRing>
  readonly #complain: Complain
  readonly #mark: RunningMark
  readonly #dirty = new Set<number>()
  readonly #endpoints = new EndpointList()
  readonly #shadows: Shadows
  #programs: readonly Program[] = []
  #port: PolicyPort | null = null
  #scheduled = false

  constructor({ workers, complain, shadow = () => {}, mark }: RunnerOptions) {
    this.#workers = workers
    const memory = workers.map((worker) => [worker, createDecisionRing()] as const)
    this.#memory = memory.map(([, bytes]) => bytes)
    this.#rings = new Map(memory.map(([worker, bytes]) => [worker, new DecisionRing(bytes)]))
    this.#complain = complain
    this.#shadows = new Shadows(shadow)
    this.#mark = mark ?? new Int32Array(1)
  }

  /** From now on native sends its requests here. */
  attach(native: NativeModule, gatewayId: number): void {
    this.#port = native.attachPolicyThread(gatewayId, this.#memory, () => this.#drain(), this.#workers)
  }

  detach(): void {
    this.#port?.detach()
    this.#port = null
  }

  /** The last one stands for requests of an unknown plan; keep the one before it during a change. */
  install(programs: readonly Program[]): void {
    this.#programs = programs
  }

  #drain(): void {
    let more = false
    for (const [worker, ring] of this.#rings) {
      more = ring.drain(BATCH, (request) => this.#serve(worker, request)) || more
    }
    this.#kick()
    if (more) setImmediate(() => this.#drain())
  }

  #serve(worker: number, request: DecisionRequest): void {
    Atomics.store(this.#mark, 0, request.index + 1)
    if (request.kind === SLOT_KIND.handler) this.#handle(worker, request)
    else this.#decide(worker, request)
    Atomics.store(this.#mark, 0, 0)
  }

  #decide(worker: number, request: DecisionRequest): void {
    const script = this.#program(request.planVersion)?.scripts[request.index]
    if (script === undefined) return this.#answer(worker, request, SLOT_OUTCOME.threw, "no such policy")
    const name = nameOf(script)
    try {
      const payload = (): Buffer | null => this.#port?.policyPayload(worker, request.slot, request.generation) ?? null
      const message = createPolicyMessage(script.reads, request.fields, payload)
      // Native keeps a payload until it has its answer.
      if (script.policy.shadow !== undefined && script.reads.some(({ field }) => field === "payload")) message.payload
      const verdict = this.#run(script, message)
      if (!(verdict instanceof Promise)) return this.#verdict(worker, request, [script, message], verdict)
      verdict.then(
        (value) => this.#verdict(worker, request, [script, message], value),
        (error: unknown) => this.#threw(worker, request, `policy "${name}" rejected: ${messageOf(error)}`),
      )
    } catch (error) {
      this.#threw(worker, request, `policy "${name}" threw: ${messageOf(error)}`)
    }
  }

  #run({ policy, options, balance }: Script, message: PolicyMessage): Verdict | Promise<Verdict> {
    if (balance === null) return policy.decide(message, options)
    const endpoints = this.#endpoints.of(balance.upstream, () => this.#port?.upstreams() ?? "[]")
    const picked = balance.balancer.pick(message, endpoints)
    return picked instanceof Promise ? picked.then((hashKey) => ({ hashKey })) : { hashKey: picked }
  }

  #verdict(
    worker: number,
    request: DecisionRequest,
    [script, message]: readonly [Script, PolicyMessage],
    value: unknown,
  ): void {
    try {
      const verdict = toAnswer(value)
      const payload = payloadOf(value, script.reads)
      if (payload !== null) this.#port?.policyAnswer(worker, request.slot, request.generation, payload)
      this.#answer(worker, request, SLOT_OUTCOME.ok, verdict)
      const { policy, options, balance } = script
      if (policy.shadow !== undefined && balance === null) this.#shadows.add({ policy, options, message, verdict })
    } catch (error) {
      this.#complain(`policy "${nameOf(script)}": ${messageOf(error)}`)
      this.#answer(worker, request, SLOT_OUTCOME.invalid, messageOf(error).slice(0, 200))
    }
  }

  #threw(worker: number, request: DecisionRequest, text: string): void {
    this.#complain(text)
    this.#answer(worker, request, SLOT_OUTCOME.threw, text.slice(0, 200))
  }

  #answer(worker: number, request: DecisionRequest, outcome: number, text: string): void {
    if (!this.#rings.get(worker)?.answer(request, outcome, text)) return
    this.#dirty.add(worker)
    if (this.#scheduled) return
    // An answer that comes later than its batch still gets its kick, one for all of a turn.
    this.#scheduled = true
    queueMicrotask(() => this.#kick())
  }

  #kick(): void {
    this.#scheduled = false
    for (const worker of this.#dirty) this.#port?.kick(worker)
    this.#dirty.clear()
  }

  #handle(worker: number, request: DecisionRequest): void {
    const handler = this.#program(request.planVersion)?.handlers[request.index]
    const bytes = this.#port?.handlerRequest(worker, request.slot, request.generation)
    const message = bytes === undefined ? null : toHandlerMessage(bytes)
    // Whoever asked has given up: the reply only frees the slot.
    if (message === null) return this.#reply(worker, request, { status: 504 })
    const reply = (value: unknown): void => this.#reply(worker, request, value)
    const fail = (error: unknown): void => {
      this.#complain(`handler "${handler?.name ?? request.index}" failed: ${messageOf(error)}`)
      reply({ status: 500, body: "the handler failed\n" })
    }
    if (handler === undefined) return fail(new Error("no such handler"))
    try {
      Promise.resolve(handler.handle(message)).then(reply).catch(fail)
    } catch (error) {
      fail(error)
    }
  }

  #reply(worker: number, { slot, generation }: DecisionRequest, value: unknown): void {
    const { head, body } = toReplyRecord(value)
    this.#port?.handlerReply(worker, slot, generation, JSON.stringify(head), body)
  }

  #program(version: number): Program | undefined {
    return this.#programs.find(({ planVersion }) => planVersion === version) ?? this.#programs.at(-1)
  }
}

function nameOf({ balance, policy }: Script): string {
  return balance?.balancer.name ?? policy.name
}
