// What a publish to a topic that was never seen before costs with 0 to 100,000 wildcard subscriptions, over 1,000,000
// topics, in nanoseconds, and how many copies it makes. That the nodes looked at do not grow is a test of the broker crate.
import { figures, show } from "./lib/example.mjs"

show("topic-tree", { "a publish by wildcard subscriptions": figures("tidegate-broker", "publishes") })
