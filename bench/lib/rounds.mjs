// Rounds of all peers in turn, so that a noisy minute disturbs all of them alike.

/**
 * Calls `measure(peer)` for each peer in each round. The first round warms up and is
 * dropped. Gives a map from the peer's name to its measurements.
 */
export async function interleave(peers, rounds, measure) {
  const results = new Map(peers.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      progress(`  round ${round + 1} of ${rounds}, ${peer.name}`)
      const result = await measure(peer)
      if (round > 0) results.get(peer.name).push(result)
    }
  }
  progress("")
  return results
}

/** Overwritten by what comes next; nothing where nobody looks. */
function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`${text}\u001b[K\r`)
}

/** Median, least and most. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
  return { median, min: sorted[0], max: sorted.at(-1) }
}
