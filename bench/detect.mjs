// F10: what it costs to tell a protocol by its first bytes, in nanoseconds, and that it
// takes no system call of its own (the function has no I/O; syscalls.mjs counts the rest).
import { figures, show } from "./lib/example.mjs"

show("detect", { "first bytes to a protocol": figures("tidegate-detect", "cost") })
