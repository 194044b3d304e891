/** Which endpoints an upstream means: those of a zone, of a version, with labels; where there are none, its fallback. */
import type { NormalizedSubset } from "../config/index.ts"

interface Described {
  readonly zone: string | null
  readonly version: string | null
  readonly labels: Readonly<Record<string, string>>
}

type Wanted = Omit<NormalizedSubset, "fallback">

/** Those of the subset; where nobody is of it, what its fallback says: nobody, anybody, or another subset. */
export function inSubset<D>(all: readonly D[], subset: NormalizedSubset | null, describe: (one: D) => Described): D[] {
  if (subset === null) return [...all]
  const of = (wanted: Wanted): D[] => all.filter((one) => isIn(describe(one), wanted))
  const { fallback } = subset
  const found = of(subset)
  if (found.length > 0 || fallback === "none") return found
  return fallback === "any" ? [...all] : of(fallback)
}

function isIn({ zone, version, labels }: Described, wanted: Wanted): boolean {
  if (wanted.zone !== null && zone !== wanted.zone) return false
  if (wanted.version !== null && version !== wanted.version) return false
  return Object.entries(wanted.labels).every(([label, value]) => labels[label] === value)
}
