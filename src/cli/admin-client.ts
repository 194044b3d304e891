/** Calls to the admin API of a running gateway, for the commands that need one. */
import { readFileSync } from "node:fs"
import { type IncomingMessage, request as plain } from "node:http"
import { request as secure } from "node:https"
import { messageOf, TidegateError } from "../errors.ts"

/** Options that say where the gateway is. */
export interface AdminOptions {
  readonly admin?: string
  readonly token?: string
  readonly config?: string
  /** PEM files: whom to believe, and the certificate to show. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

interface TlsFiles {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

export interface AdminCall {
  readonly method?: string
  readonly body?: unknown
}

export class AdminClient {
  readonly #base: string
  readonly #token: string | null
  readonly #files: TlsFiles

  constructor(base: string, token: string | null, files: TlsFiles = {}) {
    this.#base = base.replace(/\/+$/, "")
    this.#token = token
    this.#files = files
  }

  /** From `--admin`, else from the configuration; the token from `--token`, TIDEGATE_TOKEN or the configuration. */
  static async open(options: AdminOptions): Promise<AdminClient> {
    const { admin, token, config } = options
    const given = token ?? process.env.TIDEGATE_TOKEN ?? null
    const files = tlsFiles(options)
    if (admin !== undefined) {
      const url = /^https?:\/\//.test(admin) ? admin : `http://${admin}`
      if (!URL.canParse(url)) throw new TidegateError("USAGE", `"${admin}" is no address of an admin API`)
      return new AdminClient(url, given, files)
    }
    const { formatHostPort, isLoopback, loadConfig } = await import("../config/index.ts")
    const { config: loaded } = await loadConfig(config).catch((error: unknown) => {
      throw withHint(error)
    })
    if (loaded.admin === null) throw new TidegateError("ADMIN_UNREACHABLE", 'the configuration says "admin: false"')
    const { host, port, tls } = loaded.admin
    const scheme = tls === null ? "http" : "https"
    const reachable = isLoopback(host) || !/^(0\.0\.0\.0|::)$/.test(host) ? host : "127.0.0.1"
    return new AdminClient(
      `${scheme}://${formatHostPort({ host: reachable, port })}`,
      given ?? loaded.admin.token,
      files,
    )
  }

  /** The answer's JSON, null for none. Throws ADMIN_UNREACHABLE or ADMIN_REFUSED. */
  async call(path: string, { method = "GET", body }: AdminCall = {}): Promise<unknown> {
    const response = await this.#send(path, { method, body })
    if (!isWell(response)) throw await this.#refusal(path, response)
    const text = await this.#read(response)
    if (text === "") return null
    try {
      return JSON.parse(text) as unknown
    } catch (cause) {
      throw this.#unreachable("what answers there is none", cause)
    }
  }

  /** The data of each server-sent event, until the gateway ends. Throws as `call`. */
  async *events(path: string): AsyncGenerator<unknown> {
    const response = await this.#send(path, {})
    if (!isWell(response)) throw await this.#refusal(path, response)
    let rest = ""
    try {
      for await (const part of response.setEncoding("utf8")) {
        const lines = (rest + String(part)).split("\n")
        rest = lines.pop() ?? ""
        for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6))
      }
    } catch (cause) {
      throw this.#unreachable("it ended in the middle of its answer", cause)
    }
  }

  async #refusal(path: string, response: IncomingMessage): Promise<TidegateError> {
    const { statusCode: status, statusMessage = "" } = response
    const problem = asProblem(await this.#read(response))
    return new TidegateError(
      "ADMIN_REFUSED",
      problem.detail ?? `${this.#base}${path} is answered with ${status} ${statusMessage}`,
      {
        problems: problem.problems ?? [],
        ...(problem.detail === undefined && { hint: "what answers there may be no admin API: see --admin" }),
        ...(status === 401 && { hint: "give the token with --token or TIDEGATE_TOKEN" }),
      },
    )
  }

  async #read(response: IncomingMessage): Promise<string> {
    try {
      let text = ""
      for await (const part of response.setEncoding("utf8")) text += String(part)
      return text
    } catch (cause) {
      throw this.#unreachable("it ended in the middle of its answer", cause)
    }
  }

  #unreachable(why: string, cause: unknown): TidegateError {
    return new TidegateError("ADMIN_UNREACHABLE", `no gateway answers on ${this.#base}: ${why}`, {
      cause,
      hint: "start one with: tidegate run, or say where it is with --admin URL",
    })
  }

  #send(path: string, { method = "GET", body }: AdminCall): Promise<IncomingMessage> {
    const headers: Record<string, string> = {}
    if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`
    if (body !== undefined) headers["content-type"] = "application/json"
    const start = this.#base.startsWith("https:") ? secure : plain
    return new Promise((resolve, reject) => {
      const request = start(`${this.#base}${path}`, { method, headers, agent: false, ...this.#files }, resolve)
      request.on("error", (error) => reject(this.#unreachable(messageOf(error), error)))
      request.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }
}

/** A gateway may run all the same: the file is not what it runs with. */
function withHint(error: unknown): unknown {
  if (!(error instanceof TidegateError)) return error
  const { code, message, cause, problems, file } = error
  const hint = "the file says where the gateway is; without it: --admin URL"
  return new TidegateError(code, message, { cause, hint, problems, ...(file !== null && { file }) })
}

/** What the options name of certificates. Throws FILE_UNUSABLE. */
function tlsFiles({ ca, cert, key }: AdminOptions): TlsFiles {
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file)
    } catch (error) {
      throw new TidegateError("FILE_UNUSABLE", `${file} cannot be read: ${messageOf(error)}`, { cause: error })
    }
  }
  return {
    ...(ca !== undefined && { ca: read(ca) }),
    ...(cert !== undefined && { cert: read(cert) }),
    ...(key !== undefined && { key: read(key) }),
  }
}

const isWell = ({ statusCode = 0 }: IncomingMessage): boolean => statusCode >= 200 && statusCode < 300

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
