/** The registry's gRPC service: every call by the schemas of the REST calls, on the same registry. */
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect"
import { Ajv, type ValidateFunction } from "ajv"
import type { Static, TSchema } from "typebox"
import type { Gateway } from "../../gateway/index.ts"
import type { ServiceSnapshot } from "../../model/service.ts"
import { Address, countServices, Heartbeat, Patch, Registration, Service } from "../registration.ts"
import { toMessage, toPatch, toRegistration } from "./convert.ts"
import type { Registry } from "./registry_pb.ts"

const ajv = new Ajv({ meta: false, validateSchema: false, useDefaults: true, allErrors: true })
const isAddress = validator(Address)
const isService = validator(Service)
const isRegistration = validator(Registration)
const isPatch = validator(Patch)
const isHeartbeat = validator(Heartbeat)

export function createRegistryService({ registry }: Pick<Gateway, "registry">): ServiceImpl<typeof Registry> {
  return {
    register: (request) => {
      const { service, id } = isAddress(addressOf(request))
      const { instance, created } = registry.put(
        service,
        id,
        isRegistration(toRegistration(request.registration), "registration"),
      )
      return { instance: toMessage(instance), created }
    },
    heartbeat: (request) => {
      const { service, id } = isAddress(addressOf(request))
      const { active, max, cpu, memory } = request.load ?? {}
      const body = isHeartbeat(request.load === undefined ? null : { load: { active, max, cpu, memory } })
      registry.heartbeat(service, id, body?.load)
      return {}
    },
    update: (request) => {
      const { service, id } = isAddress(addressOf(request))
      return { instance: toMessage(registry.patch(service, id, isPatch(toPatch(request)))) }
    },
    deregister: (request) => {
      const { service, id } = isAddress(addressOf(request))
      registry.remove(service, id)
      return {}
    },
    listServices: () => {
      const services = countServices(registry).map(({ source, ...counts }) => {
        return { ...counts, source: source === null ? undefined : { ...source, fault: source.fault ?? undefined } }
      })
      return { services }
    },
    discover: ({ service, healthy, zone, version }) => {
      isService({ service })
      return { instances: registry.instances(service, { healthy, zone, version }).map(toMessage) }
    },
    async *watch({ service }, { signal }) {
      isService({ service })
      // A reader that is slow gets the newest state and none of those between.
      let next: ServiceSnapshot | null = registry.snapshot(service)
      let wake = (): void => undefined
      const stop = registry.follow(service, (snapshot) => {
        next = snapshot
        wake()
      })
      const end = (): void => wake()
      signal.addEventListener("abort", end)
      try {
        while (!signal.aborted) {
          if (next !== null) {
            const { instances } = next
            next = null
            yield { instances: instances.map(toMessage) }
          } else {
            await new Promise<void>((resolve) => {
              wake = resolve
            })
          }
        }
      } finally {
        signal.removeEventListener("abort", end)
        stop()
      }
    },
  }
}

function addressOf({ service, id }: { readonly service: string; readonly id: string }) {
  return { service, id }
}

/** The value as the schema's type; INVALID_ARGUMENT with all that is wrong. Compiled by its first call: few gateways get one. */
function validator<T extends TSchema>(schema: T): (value: unknown, at?: string) => Static<T> {
  let compiled: ValidateFunction | null = null
  return (value, at = "") => {
    compiled ??= ajv.compile(schema)
    const isValid = compiled
    if (isValid(value)) return value as Static<T>
    const texts = (isValid.errors ?? []).map(({ instancePath, message }) => {
      const path = [at, ...instancePath.split("/").slice(1)].filter((part) => part !== "").join(".")
      return `${path === "" ? "" : `${path}: `}${message ?? "is not valid"}`
    })
    throw new ConnectError(texts.join("; "), Code.InvalidArgument)
  }
}
