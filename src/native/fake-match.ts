/** Whether a topic matches a filter, as the broker says it, for FakeNative. */
export function matches(filter: string, topic: string): boolean {
  const wanted = filter.split("/")
  const levels = topic.split("/")
  for (const [index, level] of wanted.entries()) {
    if (level === "#") return true
    if (index >= levels.length) return false
    if (level !== "+" && level !== levels[index]) return false
  }
  return wanted.length === levels.length
}
