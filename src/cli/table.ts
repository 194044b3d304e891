/** Rows of data as an aligned table. */

/** Columns in the order of `headings`; missing values are empty. */
export function formatTable(headings: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [headings, ...rows.map((row) => row.map(toCell))]
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)))
  const lines = cells.map((row) =>
    widths
      .map((width, column) => (row[column] ?? "").padEnd(width))
      .join("  ")
      .trimEnd(),
  )
  return lines.join("\n")
}

function toCell(value: unknown): string {
  if (value === null || value === undefined) return "-"
  const text = typeof value === "object" ? JSON.stringify(value) : String(value)
  // Names come from clients: nothing in them may drive the terminal.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "?")
}
