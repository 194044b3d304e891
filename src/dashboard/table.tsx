/** A panel with a table, or with a word where there is nothing to show. */
import type { ComponentChildren } from "preact"

interface Props {
  readonly title: string
  readonly head: readonly string[]
  /** The first cell names the row; the others are numbers or words. */
  readonly rows: readonly (readonly ComponentChildren[])[]
  readonly empty: string
  /** Over all columns of the page. */
  readonly isWide?: boolean
}

export function TablePanel({ title, head, rows, empty, isWide = false }: Props) {
  const align = head.map((_, column) =>
    column > 0 && rows.every((cells) => isNumber(cells[column])) ? "number-cell" : "",
  )
  return (
    <section class={isWide ? "panel wide" : "panel"} aria-label={title}>
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p class="quiet">{empty}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: who has no mouse scrolls it by keys
        <section class="scroll" aria-label={`${title}, table`} tabIndex={0}>
          <table>
            <thead>
              <tr>
                {head.map((name, column) => (
                  <th key={name} scope="col" class={align[column]}>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((cells, row) => (
                <tr key={row}>
                  {cells.map((cell, column) =>
                    column === 0 ? (
                      <th key={head[column]} scope="row">
                        {cell}
                      </th>
                    ) : (
                      <td key={head[column]} class={align[column]}>
                        {cell}
                      </td>
                    ),
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  )
}

/** `12`, `1,024.5`, `3 KiB`, and what is left empty. */
function isNumber(cell: ComponentChildren): boolean {
  return typeof cell === "number" || (typeof cell === "string" && /^(-|[\d.,]+( ?[A-Za-zµ/]+)?)?$/.test(cell))
}

/** Longer texts of badges may take several lines. */
const SHORT = 20

/** A word with a color: `good`, `warn` or `bad`. */
export function Badge({ kind, text }: { readonly kind: "good" | "warn" | "bad" | "none"; readonly text: string }) {
  return <span class={`badge ${kind} ${text.length > SHORT ? "" : "short"}`}>{text}</span>
}
