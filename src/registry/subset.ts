/** Which endpoints an upstream means: those of a zone, of a version, with labels. */
import type { NormalizedSubset } from "../config/index.ts"

interface Described {
  readonly zone: string | null
  readonly version: string | null
  readonly labels: Readonly<Record<string, string>>
}

export function isIn({ zone, version, labels }: Described, subset: NormalizedSubset | null): boolean {
  if (subset === null) return true
  if (subset.zone !== null && zone !== subset.zone) return false
  if (subset.version !== null && version !== subset.version) return false
  return Object.entries(subset.labels).every(([label, value]) => labels[label] === value)
}
