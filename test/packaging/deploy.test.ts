/** What examples/deploy gives to systemd and Kubernetes fits the gateway that it runs. */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import test from "ava"
import { parse, parseAllDocuments } from "yaml"
import { loadData } from "../../src/config/index.ts"

const file = (name: string): string => fileURLToPath(new URL(`../../examples/deploy/${name}`, import.meta.url))
const execute = promisify(execFile)

interface Manifest {
  readonly kind: string
  // biome-ignore lint/suspicious/noExplicitAny: manifests are looked at path by path
  readonly [key: string]: any
}

const manifests = parseAllDocuments(readFileSync(file("kubernetes.yaml"), "utf8")).map((document) => {
  return document.toJS() as Manifest
})
const find = (kind: string): Manifest => manifests.find((manifest) => manifest.kind === kind) ?? { kind: "none" }

test("the configuration in the manifest is one, and what it listens on is what is probed and served", (t) => {
  process.env.TIDEGATE_TOKEN = "of the test"
  const { config } = loadData(parse(find("ConfigMap").data["tidegate.config.yaml"]))
  const [container] = find("Deployment").spec.template.spec.containers
  const ports = new Map(
    container.ports.map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]),
  )
  t.is(ports.get("admin"), config.admin?.port)
  const bound = config.listeners.map(({ address }) => Number(address.split(":").at(-1))).sort()
  t.deepEqual([ports.get("coap"), ports.get("gateway")], bound)
  t.deepEqual(
    find("Service").spec.ports.map(({ port, targetPort }: { port: number; targetPort: string }) => [
      port,
      ports.get(targetPort),
    ]),
    [
      [7_000, 7_000],
      [5_683, 5_683],
    ],
  )
  t.is(container.readinessProbe.httpGet.path, "/ready")
  t.is(container.livenessProbe.httpGet.path, "/health")
})

test("a pod has the time that a drain takes", (t) => {
  process.env.TIDEGATE_TOKEN = "of the test"
  const { config } = loadData(parse(find("ConfigMap").data["tidegate.config.yaml"]))
  const { terminationGracePeriodSeconds } = find("Deployment").spec.template.spec
  t.true(terminationGracePeriodSeconds * 1_000 > config.drain.delayMs + config.drain.timeoutMs)
  t.regex(readFileSync(file("tidegate.service"), "utf8"), /^TimeoutStopSec=40$/m)
})

/** The API types of the manifests, with the schemas that the API server checks them by. */
const MODELS: Readonly<Record<string, () => Promise<Readonly<Record<string, Model>>>>> = {
  ConfigMap: () => import("kubernetes-models/v1") as never,
  Service: () => import("kubernetes-models/v1") as never,
  Deployment: () => import("kubernetes-models/apps/v1") as never,
  PodDisruptionBudget: () => import("kubernetes-models/policy/v1") as never,
}
type Model = new (data: unknown) => { validate(): void }

for (const manifest of manifests) {
  test(`the schema of Kubernetes takes the ${manifest.kind}`, async (t) => {
    const { [manifest.kind]: model } = (await MODELS[manifest.kind]?.()) ?? {}
    if (model === undefined) return t.fail(`there is no model of ${manifest.kind}`)
    t.notThrows(() => new model(manifest).validate())
    t.throws(() => new model({ ...manifest, metadata: { ...manifest.metadata, name: 5 } }).validate(), {
      message: /must be string/,
    })
  })
}

test("systemd takes the unit", async (t) => {
  const verified = await execute("systemd-analyze", ["verify", "--man=no", file("tidegate.service")]).catch(
    (error: NodeJS.ErrnoException & { stderr?: string }) => error,
  )
  if ("code" in verified && verified.code === "ENOENT") return t.pass("no systemd here")
  // Complaints about other units of the machine are not ours.
  const own = (verified.stderr ?? "").split("\n").filter((line) => line.includes("tidegate.service"))
  t.deepEqual(
    own.filter((line) => !/Neither a valid executable name/.test(line)),
    [],
  )
})
