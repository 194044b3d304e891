/** The client's side of SCRAM-SHA-256 (RFC 5802), by node:crypto: what the gateway's is tested with. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto"

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest()

export class ScramClient {
  readonly #password: string
  readonly #bare: string
  #expected = ""

  constructor(user: string, password: string) {
    this.#password = password
    this.#bare = `n=${user},r=${randomBytes(12).toString("hex")}`
  }

  first(): Buffer {
    return Buffer.from(`n,,${this.#bare}`)
  }

  /** The last message, for what the server asked. */
  final(asked: Buffer | undefined): Buffer {
    const server = String(asked)
    const [, nonce = "", salt = "", rounds = ""] = /^r=([^,]*),s=([^,]*),i=(\d+)$/.exec(server) ?? []
    const salted = pbkdf2Sync(this.#password, Buffer.from(salt, "base64"), Number(rounds), 32, "sha256")
    const unproven = `c=biws,r=${nonce}`
    const signed = `${this.#bare},${server},${unproven}`
    const key = hmac(salted, "Client Key")
    const signature = hmac(createHash("sha256").update(key).digest(), signed)
    this.#expected = `v=${hmac(hmac(salted, "Server Key"), signed).toString("base64")}`
    return Buffer.from(
      `${unproven},p=${Buffer.from(key.map((byte, at) => byte ^ (signature[at] ?? 0))).toString("base64")}`,
    )
  }

  /** Whether the server knows the password too. */
  proves(data: Buffer | undefined): boolean {
    return String(data) === this.#expected
  }
}
