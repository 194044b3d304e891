// F12 and F15: what finding a route among 1 to 100,000 costs, and picking one of 1,000 or 10,000 endpoints, in nanoseconds.
import { figures, show } from "./lib/example.mjs"

show("tables", {
  "a route by the number of routes (F12: at most 1,000 ns, flat)": figures("tidegate-route", "lookups"),
  "an endpoint (F15: of 1,000 at most 50 ns a pick; peakEwma and what differs by weight and load 1,000 ns)": figures(
    "tidegate-balance",
    "picks",
  ),
})
