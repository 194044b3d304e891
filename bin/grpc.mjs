// npm run types:grpc: writes src/admin/grpc/registry_pb.ts from registry.proto beside it.
// Its tools are fetched when it runs: nobody else needs them.
import { run } from "./setup.mjs"

const folder = "src/admin/grpc"
const plugin = { local: "protoc-gen-es", out: folder, opt: ["target=ts", "import_extension=ts"] }
const template = JSON.stringify({ version: "v2", inputs: [{ directory: folder }], plugins: [plugin] })
run("npx", [
  "--yes",
  "-p",
  "@bufbuild/buf@1",
  "-p",
  "@bufbuild/protoc-gen-es@2",
  "buf",
  "generate",
  "--template",
  template,
])
