// A report as one HTML file: tables and plots as inline SVG, nothing from elsewhere.
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const OUT = fileURLToPath(new URL("../out/", import.meta.url))
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [760, 220, 70, 24]
const COLORS = ["#2a7de1", "#d9822b", "#2f9e62", "#b0407c", "#7a6ad8", "#5f6b7a"]

export const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter])

/** Writes bench/out/<name>.html. */
export function saveHtml(name, title, parts) {
  mkdirSync(OUT, { recursive: true })
  writeFileSync(join(OUT, `${name}.html`), page(title, parts))
  process.stdout.write(`written: bench/out/${name}.html\n`)
}

/** A whole page; `parts` are pieces of HTML in order. */
export function page(title, parts) {
  const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem;border-bottom:1px solid #d8dee6;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
.grid{stroke:#8894a3;stroke-opacity:.3}@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#12181f}td,th{border-color:#33404e}}`
  const head = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">`
  return `${head}<title>${escaped(title)}</title><style>${style}</style><h1>${escaped(title)}</h1>${parts.join("\n")}</html>\n`
}

export function htmlTable(head, rows) {
  const line = (cells, tag) => `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`
  return `<table>${line(head, "th")}${rows.map((row) => line(row, "td")).join("")}</table>`
}

/** Every list of rows in a result as a table, and a plot of its first figure that has a spread. */
export function partsOf(content, title = "") {
  if (Array.isArray(content) && content.length > 0 && content.every(isObject)) return rowsOf(content, title)
  if (!isObject(content) || isSpread(content)) return []
  return Object.entries(content).flatMap(([name, inner]) => partsOf(inner, title === "" ? name : `${title}: ${name}`))
}

function rowsOf(rows, title) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => key !== "name")
  const shown = (value) => {
    if (isSpread(value)) return `${rounded(value.median)} (${rounded(value.min)} to ${rounded(value.max)})`
    return typeof value === "number" ? rounded(value) : isObject(value) ? JSON.stringify(value) : (value ?? "")
  }
  const table = htmlTable(
    ["", ...columns],
    rows.map((row) => [row.name ?? "", ...columns.map((key) => shown(row[key]))]),
  )
  const spread = columns.find((key) => rows.some((row) => isSpread(row[key])))
  const plain = columns.find((key) => key === "nanoseconds")
  const figure = spread ?? plain
  if (figure === undefined) return [`<h2>${escaped(title)}</h2>`, table]
  const bars = rows
    .filter((row) => row[figure] !== undefined)
    .map((row) => {
      const { median, min, max } = isSpread(row[figure]) ? row[figure] : { median: row[figure] }
      return { name: row.name ?? "", value: median, least: min, most: max }
    })
  return [`<h2>${escaped(title)}</h2>`, barPlot({ title: figure, unit: "median, least, most", rows: bars }), table]
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value)
const isSpread = (value) => isObject(value) && "median" in value && "min" in value
const rounded = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 4 })

/** Lines over time. `series`: `{ name, points: [[x, y], ...] }`; x in seconds. */
export function linePlot({ title, unit, series }) {
  const points = series.flatMap((line) => line.points)
  if (points.length === 0) return ""
  const [mostX, mostY] = [Math.max(1, ...points.map(([x]) => x)), nice(Math.max(...points.map(([, y]) => y)))]
  const at = ([x, y]) => [
    LEFT + (x / mostX) * (WIDTH - LEFT - 10),
    HEIGHT - BOTTOM - (y / mostY) * (HEIGHT - BOTTOM - 20),
  ]
  const lines = series.map(({ points: own }, index) => {
    const path = own
      .map((point) =>
        at(point)
          .map((value) => value.toFixed(1))
          .join(","),
      )
      .join(" ")
    return `<polyline points="${path}" fill="none" stroke="${COLORS[index % COLORS.length]}" stroke-width="1.5"/>`
  })
  const labels = series.map(({ name }, index) => {
    const x = LEFT + 10 + index * 130
    return `<rect x="${x}" y="4" width="10" height="10" fill="${COLORS[index % COLORS.length]}"/><text x="${x + 14}" y="13">${escaped(name)}</text>`
  })
  const end = mostX > 7_200 ? `${(mostX / 3_600).toFixed(1)} h` : `${mostX.toFixed(0)} s`
  return `${figure(title, unit)}${frame(mostY)}${lines.join("")}${labels.join("")}<text x="${WIDTH - 50}" y="${HEIGHT - 6}">${end}</text></svg>`
}

/** A bar for each row, `{ name, value, least, most }`. */
export function barPlot({ title, unit, rows }) {
  const [names, line] = [300, 22]
  const mostX = nice(Math.max(...rows.map(({ most, value }) => most ?? value)))
  const x = (value) => names + (value / mostX) * (WIDTH - names - 80)
  const bars = rows.map(({ name, value, least = value, most = value }, index) => {
    const y = index * line + 4
    const label = `<text x="${names - 8}" y="${y + 12}" text-anchor="end">${escaped(name)}</text>`
    const color = name.includes("tidegate") || rows.length === 1 ? COLORS[0] : COLORS[5]
    const bar = `<rect x="${names}" y="${y}" width="${(x(value) - names).toFixed(1)}" height="14" fill="${color}"/>`
    const range = `<line x1="${x(least).toFixed(1)}" x2="${x(most).toFixed(1)}" y1="${y + 7}" y2="${y + 7}" stroke="currentColor"/>`
    const figure = value.toLocaleString("en-US", { maximumSignificantDigits: 4 })
    return `${label}${bar}${range}<text x="${x(most) + 6}" y="${y + 12}">${figure}</text>`
  })
  return `${figure(title, unit, rows.length * line + 8)}${bars.join("")}</svg>`
}

function figure(title, unit, height = HEIGHT) {
  return `<h3>${escaped(title)} <small>${escaped(unit)}</small></h3><svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">`
}

function frame(mostY) {
  return [0, 0.25, 0.5, 0.75, 1]
    .map((part) => {
      const y = HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - 20)
      const value = (mostY * part).toLocaleString("en-US", { maximumFractionDigits: 2 })
      return `<line class="grid" x1="${LEFT}" x2="${WIDTH - 10}" y1="${y}" y2="${y}"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${value}</text>`
    })
    .join("")
}

/** The next 1, 2 or 5 times a power of ten. */
function nice(value) {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value
}
