// Makes what is published: the package `tidegate` and the package of this machine's addon,
// as tarballs. No install script anywhere: npm picks the addon by os, cpu and libc.
//   node bin/pack.mjs [--out DIR] [--addon FILE]...
// Default DIR: target/npm. FILE is a built addon named tidegate.<platform>.node; default: the
// clone's own, stripped. A release gives one for each platform. Prints the tarballs' paths.
import { spawnSync } from "node:child_process"
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { fail, platformName, root, setup } from "./setup.mjs"

/** Every platform that a release has an addon for: the name, and what npm chooses it by. */
export const PLATFORMS = {
  "linux-x64-gnu": { os: ["linux"], cpu: ["x64"], libc: ["glibc"] },
  "linux-x64-musl": { os: ["linux"], cpu: ["x64"], libc: ["musl"] },
  "linux-arm64-gnu": { os: ["linux"], cpu: ["arm64"], libc: ["glibc"] },
  "linux-arm64-musl": { os: ["linux"], cpu: ["arm64"], libc: ["musl"] },
  "linux-arm-gnueabihf": { os: ["linux"], cpu: ["arm"] },
  "darwin-x64": { os: ["darwin"], cpu: ["x64"] },
  "darwin-arm64": { os: ["darwin"], cpu: ["arm64"] },
  "win32-x64-msvc": { os: ["win32"], cpu: ["x64"] },
  "win32-arm64-msvc": { os: ["win32"], cpu: ["arm64"] },
}

const { values } = parseArgs({
  options: { out: { type: "string", default: join(root, "target", "npm") }, addon: { type: "string", multiple: true } },
})
const out = resolve(values.out)
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
setup({ native: values.addon === undefined })
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const addons = values.addon ?? [stripped(join(root, `tidegate.${platformName()}.node`))]
const folders = [stageMain(), ...addons.map(stagePlatform)]
for (const folder of folders) process.stdout.write(`${join(out, pack(folder))}\n`)

/** A copy without symbols, where the machine can make one. */
function stripped(addon) {
  const copy = join(out, basename(addon))
  copyFileSync(addon, copy)
  if (process.platform === "linux") spawnSync("strip", ["--strip-all", copy])
  return copy
}

function stageMain() {
  const folder = join(out, "tidegate")
  const { scripts: _, devDependencies: __, ava: ___, overrides: ____, ...kept } = manifest
  const optionalDependencies = Object.fromEntries(
    Object.keys(PLATFORMS).map((name) => [`@tidegate/${name}`, manifest.version]),
  )
  writeManifest(folder, { ...kept, optionalDependencies })
  for (const path of [...manifest.files, "README.md", "LICENSE"]) copy(path, folder)
  return folder
}

function stagePlatform(addon) {
  const [, name = ""] = /^tidegate\.(.+)\.node$/.exec(basename(addon)) ?? []
  const platform = PLATFORMS[name] ?? fail(`${addon} is for no known platform; its name is tidegate.<platform>.node`)
  if (!existsSync(addon)) fail(`${addon} does not exist`)
  const folder = join(out, name)
  const { version, license, repository, engines } = manifest
  const file = basename(addon)
  const description = `The native addon of tidegate for ${name}`
  writeManifest(folder, {
    name: `@tidegate/${name}`,
    version,
    description,
    license,
    repository,
    engines,
    main: file,
    files: [file],
    ...platform,
  })
  copyFileSync(addon, join(folder, file))
  writeFileSync(
    join(folder, "README.md"),
    `# @tidegate/${name}\n\n${description}. It is installed with \`tidegate\`.\n`,
  )
  copy("LICENSE", folder)
  return folder
}

function writeManifest(folder, content) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(content, null, 2)}\n`)
}

function copy(path, folder) {
  cpSync(join(root, path), join(folder, path), {
    recursive: true,
    filter: (from) => !/(\.built|\.tidegate)$/.test(from),
  })
}

/** The tarball's name. */
function pack(folder) {
  const done = spawnSync("npm", ["pack", "--silent", "--pack-destination", out, folder], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    shell: process.platform === "win32",
  })
  if (done.status !== 0) fail(`npm pack failed in ${folder}`)
  return done.stdout.trim()
}
