/** The dashboard that the admin API serves under `/`. Bundled into dist/dashboard by bin/setup.mjs. */
import { render } from "preact"
import "uplot/dist/uPlot.min.css"
import { App } from "./app.tsx"
import "./style.css"

render(<App />, document.body)
