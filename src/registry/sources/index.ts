/** Sources of instances: a new one is one file, one line here, and its key in the schema. */
import type { NormalizedSource } from "../../config/index.ts"
import { consulSource } from "./consul.ts"
import { dnsSource, srvSource } from "./dns.ts"
import { etcdSource } from "./etcd.ts"
import { fileSource } from "./file.ts"
import { httpSource } from "./http.ts"
import { kubernetesSource } from "./kubernetes.ts"
import type { Source } from "./source.ts"

export { type Source, toInstances } from "./source.ts"

export const SOURCES: Readonly<Record<Exclude<NormalizedSource["kind"], "registry">, Source>> = {
  dns: dnsSource,
  srv: srvSource,
  file: fileSource,
  http: httpSource,
  consul: consulSource,
  etcd: etcdSource,
  kubernetes: kubernetesSource,
}
