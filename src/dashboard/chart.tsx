/** A plot of rates over time, drawn by uPlot in the colors of the page. */
import { useEffect, useRef } from "preact/hooks"
import uPlot from "uplot"
import { clock } from "./format.ts"
import type { Series } from "./rates.ts"

const HEIGHT = 220
/** The least that the plot spans, however few points there are yet. */
const SPAN_S = 30
/** Colors that both themes can bear, told apart by hue and lightness. */
const COLORS = ["#0284c7", "#d97706", "#16a34a", "#c026d3", "#dc2626", "#64748b", "#0d9488"]

export function colorOf(index: number): string {
  return COLORS[index % COLORS.length] ?? "#64748b"
}

export function Chart({ series }: { readonly series: Series }) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const names = Object.keys(series.byProtocol)
  const shape = names.join(" ")

  useEffect(() => {
    const element = place.current
    if (element === null) return undefined
    plot.current = new uPlot(optionsFor(element, shape.split(" ").filter(Boolean)), [[]], element)
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      plot.current?.destroy()
    }
  }, [shape])

  useEffect(() => {
    plot.current?.setData([[...series.times], ...names.map((name) => [...(series.byProtocol[name] ?? [])])])
  })

  return <div class="chart" ref={place} role="img" aria-label="requests and messages per second by protocol" />
}

function optionsFor(element: HTMLElement, names: readonly string[]): uPlot.Options {
  const style = getComputedStyle(element)
  const axis = {
    stroke: style.getPropertyValue("--quiet"),
    grid: { stroke: style.getPropertyValue("--line"), width: 1 },
    ticks: { show: false },
  }
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, first, last) => [Math.min(first, last - SPAN_S), last] },
      y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 30,
        incrs: [5, 10, 30, 60],
        space: 80,
        values: (_, splits) => splits.map((at) => clock(at * 1_000)),
      },
      { ...axis, size: 56 },
    ],
    series: [
      {},
      ...names.map((name, index) => ({ label: name, stroke: colorOf(index), width: 2, points: { show: false } })),
    ],
  }
}
