/** Paths into a configuration: as segments, and as people read them. */
export type Path = readonly (string | number)[]

/** `upstreams.api.endpoints[0]`; a key that is no identifier is quoted. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, segment) => {
    if (typeof segment === "number") return `${text}[${segment}]`
    if (!/^[A-Za-z_$][\w$-]*$/.test(segment)) return `${text}[${JSON.stringify(segment)}]`
    return text === "" ? segment : `${text}.${segment}`
  }, "")
}

/** What stands there; undefined: nothing. */
export function valueAt(path: Path, root: unknown): unknown {
  return path.reduce<unknown>(
    (value, segment) => (value as Record<string | number, unknown> | null | undefined)?.[segment],
    root,
  )
}

/** Segments of a JSON pointer, array positions as numbers where `root` has arrays. */
export function parsePointer(pointer: string, root: unknown): Path {
  let value = root
  return pointer
    .split("/")
    .slice(1)
    .map((escaped) => {
      const key = escaped.replaceAll("~1", "/").replaceAll("~0", "~")
      const segment = Array.isArray(value) ? Number(key) : key
      value = value === null || value === undefined ? undefined : (value as Record<string | number, unknown>)[segment]
      return segment
    })
}
