// npm packages of peers: whether they are there, and which version ran.
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const require = createRequire(import.meta.url)

/** `missing()` and `version()` of a peer that consists of packages; the first names it. */
export function packaged(...names) {
  return {
    missing: () => {
      const gone = names.filter((name) => manifest(name) === undefined)
      return gone.length > 0 ? `npm install --no-save ${gone.join(" ")}` : undefined
    },
    version: () => JSON.parse(readFileSync(manifest(names[0]), "utf8")).version,
  }
}

/** Not by `require.resolve`: a package need not export its manifest. */
function manifest(name) {
  return require.resolve
    .paths(name)
    .map((folder) => join(folder, name, "package.json"))
    .find((file) => existsSync(file))
}
