/**
 * Where policies and handlers run: in the calling thread (`createGateway` in a user's
 * program) or in a thread of their own (`tidegate run`, see `policy-thread-host.ts`).
 */
import type { ShadowReport } from "../model/shadow.ts"
import type { NativeModule } from "../native/index.ts"
import { type ProgramData, toProgram } from "../plan/index.ts"
import type { Functions } from "../policy/index.ts"
import { type Complain, PolicyRunner, type Program } from "../runner/index.ts"

/** A change that is prepared: both plans' requests can be answered until it is decided. */
export interface PreparedPolicies {
  commit(): void
  rollback(): Promise<void>
}

export interface PolicyHost {
  /** Makes ready for the plan's requests before the plan is applied. */
  prepare(program: ProgramData, functions: Functions): Promise<PreparedPolicies>
  close(): Promise<void>
}

/** What a host needs to know of its gateway. */
export interface PolicyHostContext {
  readonly native: NativeModule
  readonly gatewayId: number
  readonly workers: number
  /** Threads that policies run in, where they have threads of their own. */
  readonly threads: number
  readonly complain: Complain
  /** Takes what versions in shadow came to. */
  readonly shadow: (report: ShadowReport) => void
}

export type CreatePolicyHost = (context: PolicyHostContext) => PolicyHost

/** Runs everything in the calling thread; a loop there stops the program, as any loop would. */
export const inlinePolicyHost: CreatePolicyHost = ({ native, gatewayId, workers, complain, shadow }) => {
  let runner: PolicyRunner | null = null
  let current: Program | null = null
  const start = (): PolicyRunner => {
    const created = new PolicyRunner({
      workers: Array.from({ length: workers }, (_, worker) => worker),
      complain,
      shadow,
    })
    created.attach(native, gatewayId)
    return created
  }
  return {
    async prepare(data, functions) {
      const next = toProgram(data, functions)
      const before = current
      if (next.scripts.length + next.handlers.length > 0) runner ??= start()
      runner?.install(before === null ? [next] : [before, next])
      return {
        commit: () => {
          current = next
        },
        rollback: async () => runner?.install(before === null ? [] : [before]),
      }
    },
    async close() {
      runner?.detach()
      runner = null
    },
  }
}
