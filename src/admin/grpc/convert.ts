/** Messages of the registry's gRPC service to and from what the registry keeps; unset is null there. */
import { create } from "@bufbuild/protobuf"
import type { Instance, InstanceStatus } from "../../model/service.ts"
import {
  type Instance as InstanceMessage,
  InstanceSchema,
  type Registration,
  Status,
  type UpdateRequest,
} from "./registry_pb.ts"

const STATUSES: Readonly<Record<InstanceStatus, Status>> = {
  healthy: Status.HEALTHY,
  unhealthy: Status.UNHEALTHY,
  unknown: Status.UNKNOWN,
  draining: Status.DRAINING,
}

export function toMessage(instance: Instance): InstanceMessage {
  const { service, id, status, load, registeredAt, lastHeartbeatAt, zone, version, ttlSeconds, ...rest } = instance
  const { host, port, protocol, weight, metadata } = rest
  return create(InstanceSchema, {
    service,
    id,
    registration: {
      ...{ host, port, protocol, weight, metadata: { ...metadata } },
      ...{ zone: zone ?? undefined, version: version ?? undefined, ttlSeconds: ttlSeconds ?? undefined },
    },
    status: STATUSES[status],
    load: load ?? undefined,
    registeredAt,
    lastHeartbeatAt,
  })
}

type Field = "host" | "port" | "protocol" | "weight" | "zone" | "version" | "metadata" | "ttlSeconds"
type Fields = Partial<Pick<Registration, Field>>

/** As the JSON of the REST call would say it, before it is validated. */
export function toRegistration(message: Registration | undefined) {
  return message === undefined ? {} : fields(message)
}

/** What is set of an update; no metadata is as good as none said. */
export function toPatch({ status, metadata, ...message }: UpdateRequest) {
  const named = Object.entries(STATUSES).find(([, value]) => value === status)?.[0]
  return {
    ...fields({ ...message, metadata }),
    ...(Object.keys(metadata).length === 0 && { metadata: undefined }),
    ...(status !== Status.UNSPECIFIED && { status: named ?? `${status}` }),
  }
}

function fields({ host, port, protocol, weight, zone, version, metadata, ttlSeconds }: Fields) {
  const given = { host, port, protocol, weight, zone, version, metadata, ttlSeconds }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}
