/** A panel with a table, or with a word where there is nothing to show. */
import type { ComponentChildren } from "preact"

interface Props {
  readonly title: string
  readonly head: readonly string[]
  /** The first cell names the row; the others are numbers or words. */
  readonly rows: readonly (readonly ComponentChildren[])[]
  readonly empty: string
}

export function TablePanel({ title, head, rows, empty }: Props) {
  return (
    <section class="panel">
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p class="quiet">{empty}</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                {head.map((name) => (
                  <th key={name}>{name}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((cells, row) => (
                <tr key={row}>
                  {cells.map((cell, column) => (
                    <td key={head[column]}>{cell}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

/** A word with a color: `good`, `warn` or `bad`. */
export function Badge({ kind, text }: { readonly kind: "good" | "warn" | "bad" | "none"; readonly text: string }) {
  return <span class={`badge ${kind}`}>{text}</span>
}
