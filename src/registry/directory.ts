/**
 * From CoAP's resource directory (RFC 9176) to the registry: each endpoint that
 * registers there is an instance of a service that is the directory's: who may use topics
 * takes no traffic of a service that somebody registered by HTTP or that a source tells of.
 * What is asked for are changes, so a lost wake-up costs a second and nothing else.
 */
import { messageOf, TidegateError } from "../errors.ts"
import type { DirectoryChanges, DirectoryEndpoint, NativeGateway } from "../native/index.ts"
import type { Registration } from "./registration.ts"
import type { ServiceRegistry } from "./services.ts"

/** The service of an endpoint that says no endpoint type. */
const SERVICE = "coap"
const PORTS: Readonly<Record<string, number>> = { "coap:": 5683, "coap+tcp:": 5683, "http:": 80, "https:": 443 }
const SECURE_PORT = 5684

interface Place {
  readonly service: string
  readonly id: string
}

export class DirectoryFollower {
  readonly #registry: ServiceRegistry
  readonly #native: Pick<NativeGateway, "directory">
  readonly #complain: (text: string) => void
  readonly #places = new Map<string, Place>()
  #revision = 0
  #asking: Promise<void> | null = null
  #again = false

  constructor(
    registry: ServiceRegistry,
    native: Pick<NativeGateway, "directory">,
    complain: (text: string) => void = () => {},
  ) {
    this.#registry = registry
    this.#native = native
    this.#complain = complain
  }

  /** Takes over what is different; calls while one is under way become one more. */
  async pull(): Promise<void> {
    if (this.#asking !== null) {
      this.#again = true
      return this.#asking
    }
    this.#asking = this.#ask().catch((error: unknown) =>
      this.#complain(`the directory was not read: ${messageOf(error)}`),
    )
    await this.#asking
    this.#asking = null
  }

  async #ask(): Promise<void> {
    do {
      this.#again = false
      this.#take(JSON.parse(await this.#native.directory(this.#revision)) as DirectoryChanges)
    } while (this.#again)
  }

  #take({ revision, isWhole, put, removed }: DirectoryChanges): void {
    this.#revision = revision
    for (const endpoint of put) this.#put(endpoint)
    for (const endpoint of removed) this.#remove(keyOf(endpoint))
    const there = new Set(put.map(keyOf))
    if (isWhole) for (const key of [...this.#places.keys()]) if (!there.has(key)) this.#remove(key)
  }

  #put(endpoint: DirectoryEndpoint): void {
    const registration = toRegistration(endpoint)
    if (registration === null) return
    const { endpoint: name, sector, attributes } = endpoint
    const key = keyOf(endpoint)
    const service = toName(attributes.et ?? SERVICE)
    const id = toName(sector === null ? name : `${name}:${sector}`)
    const before = this.#places.get(key)
    if (before !== undefined && (before.service !== service || before.id !== id)) this.#remove(key)
    try {
      if (this.#places.get(key) === undefined) this.#admit({ service, id })
      this.#registry.put(service, id, registration)
      this.#places.set(key, { service, id })
    } catch (error) {
      // One that cannot be taken over stands in nobody's way.
      this.#complain(`${id} of the directory is no instance of ${service}: ${messageOf(error)}`)
    }
  }

  /** Throws where the service is not the directory's, or the name is another endpoint's. */
  #admit({ service, id }: Place): void {
    const isForeign = this.#registry.instances(service).some(({ metadata }) => metadata.registration === undefined)
    if (isForeign || this.#registry.source(service) !== null)
      throw new TidegateError("SERVICE_INVALID", "others registered that service")
    for (const place of this.#places.values())
      if (place.service === service && place.id === id)
        throw new TidegateError("SERVICE_INVALID", "another endpoint has that name")
  }

  #remove(key: string): void {
    const place = this.#places.get(key)
    this.#places.delete(key)
    const isThere = ({ id }: { readonly id: string }): boolean => id === place?.id
    if (place !== undefined && this.#registry.instances(place.service).some(isThere))
      this.#registry.remove(place.service, place.id)
  }
}

function keyOf({ endpoint, sector }: Pick<DirectoryEndpoint, "endpoint" | "sector">): string {
  return JSON.stringify([endpoint, sector])
}

/** Null: its base is no address. */
function toRegistration({ base, sector, lifetimeS, address, attributes }: DirectoryEndpoint): Registration | null {
  const url = URL.canParse(base) ? new URL(base) : null
  if (url === null || url.hostname === "") return null
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (PORTS[url.protocol] ?? SECURE_PORT) : Number(url.port),
    protocol: url.protocol.slice(0, -1),
    zone: sector,
    metadata: { ...attributes, base, registration: address },
    ttlSeconds: lifetimeS,
  }
}

/** What the admin API can name: other bytes as `:` and two digits. */
function toName(text: string): string {
  const named = (byte: number): string => {
    const letter = String.fromCharCode(byte)
    return /[A-Za-z0-9._:-]/.test(letter) ? letter : `:${byte.toString(16).padStart(2, "0")}`
  }
  return [...Buffer.from(text, "utf8")].map(named).join("").slice(0, 128)
}
