/** Lines that went and came between two texts: the longest common part stays out. */

/** `- line` and `+ line` in order. Quadratic: meant for configurations, not for logs. */
export function diffLines(before: readonly string[], after: readonly string[]): string[] {
  const common = table(before, after)
  const lines: string[] = []
  let [i, j] = [0, 0]
  while (i < before.length || j < after.length) {
    const [old, fresh] = [before[i], after[j]]
    if (old !== undefined && old === fresh) {
      i++
      j++
    } else if (fresh === undefined || (old !== undefined && at(common, i + 1, j) >= at(common, i, j + 1))) {
      lines.push(`- ${old}`)
      i++
    } else {
      lines.push(`+ ${fresh}`)
      j++
    }
  }
  return lines
}

/** Length of the longest common part of the rests behind each pair of lines. */
function table(before: readonly string[], after: readonly string[]): Uint32Array[] {
  const rows = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1))
  for (let i = before.length - 1; i >= 0; i--) {
    const row = rows[i]
    for (let j = after.length - 1; row !== undefined && j >= 0; j--) {
      row[j] = before[i] === after[j] ? at(rows, i + 1, j + 1) + 1 : Math.max(at(rows, i + 1, j), at(rows, i, j + 1))
    }
  }
  return rows
}

function at(rows: readonly Uint32Array[], i: number, j: number): number {
  return rows[i]?.[j] ?? 0
}
