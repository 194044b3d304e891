/** Calls to the admin API that serves this page; the token, where it wants one, lives as long as the tab. */
import { useEffect, useState } from "preact/hooks"

const TOKEN = "tidegate-token"

/** Thrown where the API wants a token, or another one. */
export class Unauthorized extends Error {}

/** Whether a token was given, right or wrong. */
export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN) !== null
}

/** Remembers the token for this tab's calls. */
export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token)
}

export async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await request(path, init)
  return (await response.json()) as T
}

async function request(path: string, init: RequestInit): Promise<Response> {
  const token = sessionStorage.getItem(TOKEN)
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  const response = await fetch(path, { ...init, headers })
  if (response.status === 401) throw new Unauthorized()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`)
  return response
}

/** What a call gives, again every so many milliseconds while the page is visible. */
export function usePolled<T>(
  path: string,
  everyMs: number,
): { readonly value: T | null; readonly error: Error | null } {
  const [state, setState] = useState<{ value: T | null; error: Error | null }>({ value: null, error: null })
  useEffect(() => {
    const ended = new AbortController()
    let timer = 0
    const poll = async (): Promise<void> => {
      if (!document.hidden) {
        try {
          const value = await call<T>(path, { signal: ended.signal })
          setState({ value, error: null })
        } catch (error) {
          if (!ended.signal.aborted) setState((before) => ({ ...before, error: error as Error }))
          // The same token is not the right one a second later either.
          if (error instanceof Unauthorized) return
        }
      }
      if (!ended.signal.aborted) timer = window.setTimeout(poll, everyMs)
    }
    void poll()
    return () => {
      ended.abort()
      clearTimeout(timer)
    }
  }, [path, everyMs])
  return state
}

export interface ServerEvent {
  readonly type: string
  readonly time: number
  readonly [field: string]: unknown
}

/** Follows an event stream; EventSource could not send the token. Comes back after a break. */
export function useEvents(path: string, keep: number): readonly ServerEvent[] {
  const [events, setEvents] = useState<readonly ServerEvent[]>([])
  useEffect(() => {
    const ended = new AbortController()
    const take = (event: ServerEvent): void => setEvents((before) => [event, ...before].slice(0, keep))
    const follow = async (): Promise<void> => {
      while (!ended.signal.aborted) {
        await read(path, ended.signal, take).catch(() => {})
        await new Promise((resolve) => setTimeout(resolve, 3_000))
      }
    }
    void follow()
    return () => ended.abort()
  }, [path, keep])
  return events
}

async function read(path: string, signal: AbortSignal, take: (event: ServerEvent) => void): Promise<void> {
  const response = await request(path, { signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ""
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    const blocks = (rest + part.value).split("\n\n")
    rest = blocks.pop() ?? ""
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "))
      if (data !== undefined) take(JSON.parse(data.slice(6)) as ServerEvent)
    }
  }
}
