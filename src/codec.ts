/** `tidegate/codec`: the gateway's own codecs for programs: `mqtt` and `coap`. Exports only. */
export * from "./codec/index.ts"
