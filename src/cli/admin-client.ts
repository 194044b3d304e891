/** Calls to the admin API of a running gateway, for the commands that need one. */
import { formatHostPort, isLoopback, loadConfig } from "../config/index.ts"
import { messageOf, TidegateError } from "../errors.ts"

/** Options that say where the gateway is. */
export interface AdminOptions {
  readonly admin?: string
  readonly token?: string
  readonly config?: string
}

export interface AdminCall {
  readonly method?: string
  readonly body?: unknown
}

export class AdminClient {
  readonly #base: string
  readonly #token: string | null

  constructor(base: string, token: string | null) {
    this.#base = base.replace(/\/+$/, "")
    this.#token = token
  }

  /** From `--admin`, else from the configuration; the token from `--token`, TIDEGATE_TOKEN or the configuration. */
  static async open({ admin, token, config }: AdminOptions): Promise<AdminClient> {
    const given = token ?? process.env.TIDEGATE_TOKEN ?? null
    if (admin !== undefined) return new AdminClient(/^https?:\/\//.test(admin) ? admin : `http://${admin}`, given)
    const { config: loaded } = await loadConfig(config)
    if (loaded.admin === null) throw new TidegateError("ADMIN_UNREACHABLE", 'the configuration says "admin: false"')
    const { host, port } = loaded.admin
    const reachable = isLoopback(host) || !/^(0\.0\.0\.0|::)$/.test(host) ? host : "127.0.0.1"
    return new AdminClient(`http://${formatHostPort({ host: reachable, port })}`, given ?? loaded.admin.token)
  }

  /** The answer's JSON, null for none. Throws ADMIN_UNREACHABLE or ADMIN_REFUSED. */
  async call(path: string, { method = "GET", body }: AdminCall = {}): Promise<unknown> {
    const response = await this.#fetch(path, { method, body })
    const text = await response.text()
    if (response.ok) return text === "" ? null : (JSON.parse(text) as unknown)
    const problem = asProblem(text)
    throw new TidegateError("ADMIN_REFUSED", problem.detail ?? `${response.status} ${response.statusText}`, {
      problems: problem.problems ?? [],
      ...(response.status === 401 && { hint: "give the token with --token or TIDEGATE_TOKEN" }),
    })
  }

  /** The data of each server-sent event, until the gateway ends. Throws as `call`. */
  async *events(path: string): AsyncGenerator<unknown> {
    const { ok, status, statusText, body } = await this.#fetch(path, {})
    if (!ok || body === null) throw new TidegateError("ADMIN_REFUSED", `${status} ${statusText}`)
    let rest = ""
    for await (const part of body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + part).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6))
    }
  }

  async #fetch(path: string, { method, body }: AdminCall): Promise<Response> {
    const headers: Record<string, string> = {}
    if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`
    if (body !== undefined) headers["content-type"] = "application/json"
    try {
      const init = { method: method ?? "GET", headers, ...(body !== undefined && { body: JSON.stringify(body) }) }
      return await fetch(`${this.#base}${path}`, init)
    } catch (error) {
      throw new TidegateError("ADMIN_UNREACHABLE", `no gateway answers on ${this.#base}: ${messageOf(error)}`, {
        cause: error,
        hint: "start one with: tidegate run, or say where it is with --admin URL",
      })
    }
  }
}

interface ProblemBody {
  readonly detail?: string
  readonly problems?: readonly { path: string; message: string }[]
}

function asProblem(text: string): ProblemBody {
  try {
    return JSON.parse(text) as ProblemBody
  } catch {
    return {}
  }
}
