/** `broker.hooks`: names of policies with their options, by hook. */
import type { HooksPlan } from "../native/index.ts"
import type { Functions } from "../policy/index.ts"
import type { Report } from "./check.ts"
import { didYouMean } from "./nearest.ts"
import type { NormalizedHooks } from "./normalized.ts"
import type { ConfigData } from "./schema/index.ts"

type HooksData = NonNullable<NonNullable<ConfigData["broker"]>["hooks"]>
type Use = NonNullable<HooksData["onConnect"]>[number]

/** What the configuration calls a hook, and what the plan does. */
export const HOOKS = [
  ["onConnect", "connect"],
  ["onAuthenticate", "authenticate"],
  ["onPsk", "psk"],
  ["onAuthorize", "authorize"],
  ["onPublish", "publish"],
  ["onSubscribe", "subscribe"],
  ["onDeliver", "deliver"],
  ["onDisconnect", "disconnect"],
] as const satisfies readonly (readonly [keyof HooksData, keyof HooksPlan])[]

export function normalizeHooks(hooks: HooksData = {}): NormalizedHooks {
  const entries = HOOKS.map(([given, name]) => [name, (hooks[given] ?? []).flatMap(usesOf)] as const)
  return Object.fromEntries(entries) as unknown as NormalizedHooks
}

/** Names that are no policies. */
export function checkHooks({ broker, listeners = [] }: ConfigData, { policies }: Functions, report: Report): void {
  const asking = listeners.findIndex(({ dtls }) => dtls?.askForKey === true)
  const isAsked = (broker?.hooks?.onPsk ?? []).length > 0
  if (isAsked && asking < 0)
    report(["broker", "hooks", "onPsk"], 'no listener asks: say "askForKey: true" in its "dtls"')
  if (!isAsked && asking >= 0)
    report(["listeners", asking, "dtls", "askForKey"], "nobody is asked: broker.hooks.onPsk is empty")
  for (const [hook] of HOOKS) {
    for (const [index, use] of (broker?.hooks?.[hook] ?? []).entries()) {
      for (const { name } of usesOf(use)) {
        if (policies.has(name)) continue
        const hint = didYouMean(name, policies.keys())
        report(["broker", "hooks", hook, index], `policy "${name}" does not exist${hint}; hooks take policies only`)
      }
    }
  }
}

/** Whether somebody may come in as somebody. */
export function knowsUsers({ auth, broker }: ConfigData): boolean {
  const { users = {}, ...others } = auth ?? {}
  const isAsked = (broker?.hooks?.onAuthenticate ?? []).length > 0
  const ways = [others.jwt, others.http, others.database]
  return isAsked || Object.keys(users).length > 0 || ways.some((way) => way !== undefined)
}

function usesOf(use: Use): NormalizedHooks["connect"] {
  if (typeof use === "string") return [{ name: use, options: {} }]
  return Object.entries(use).map(([name, options]) => {
    return { name, options: (options ?? {}) as Readonly<Record<string, unknown>> }
  })
}
