/** The generated code of the registry's gRPC service says what its description says. */
import { fileURLToPath } from "node:url"
import type { DescEnum, DescMessage, DescService } from "@bufbuild/protobuf"
import test from "ava"
import protobuf from "protobufjs"
import { file_registry } from "../../src/admin/grpc/registry_pb.ts"

const proto = fileURLToPath(new URL("../../src/admin/grpc/registry.proto", import.meta.url))
const described = protobuf.loadSync(proto).lookup("tidegate.registry.v1") as protobuf.Namespace

const ofMessage = ({ name, fields }: DescMessage) => [
  name,
  fields.map(({ name: field, number }) => `${field} ${number}`),
]
const ofEnum = ({ name, values }: DescEnum) => [name, values.map(({ name: value, number }) => `${value} ${number}`)]
const ofService = ({ name, methods }: DescService) => [
  name,
  methods.map(
    (method) => `${method.name} ${method.input.name} ${method.output.name} ${method.methodKind === "server_streaming"}`,
  ),
]

function text(entry: protobuf.ReflectionObject): [string, string[]] {
  if (entry instanceof protobuf.Type) {
    const fields = entry.fieldsArray.map((field) => `${snake(field.name)} ${field.id}`)
    return [entry.name, fields]
  }
  if (entry instanceof protobuf.Enum)
    return [entry.name, Object.entries(entry.values).map(([name, id]) => `${name} ${id}`)]
  const { methodsArray } = entry as protobuf.Service
  const methods = methodsArray.map((method) => {
    return `${method.name} ${method.requestType} ${method.responseType} ${method.responseStream === true}`
  })
  return [entry.name, methods]
}

/** protobufjs tells names in camel case. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

test("npm run types:grpc was run since the description changed", (t) => {
  const { messages, enums, services } = file_registry
  const generated = [...messages.map(ofMessage), ...enums.map(ofEnum), ...services.map(ofService)]
  t.deepEqual(
    Object.fromEntries(generated as [string, string[]][]),
    Object.fromEntries(described.nestedArray.map(text)),
  )
  t.true(generated.length > 15)
})
