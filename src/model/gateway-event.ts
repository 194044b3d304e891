/** What a gateway tells its listeners, `access` in batches up to 100 ms late. Types only; the ring reader makes the objects. */
export type GatewayEvent =
  | {
      readonly type: "access"
      readonly time: number
      readonly route: string | null
      readonly upstream: string | null
      readonly status: number
      readonly durationUs: number
      /** `METHOD path flag`. */
      readonly text: string
    }
  | { readonly type: "connection-opened" | "connection-closed"; readonly time: number; readonly text: string }
  | { readonly type: "endpoint"; readonly time: number; readonly text: string }
  | { readonly type: "log"; readonly time: number; readonly level: number; readonly text: string }
  | { readonly type: "applied"; readonly time: number; readonly version: number }
  | { readonly type: "refused"; readonly time: number; readonly message: string }
  | {
      readonly type: "alert"
      readonly time: number
      readonly name: string
      readonly state: "firing" | "resolved"
      readonly value: number | null
    }
  | {
      readonly type: "audit"
      readonly time: number
      readonly caller: string
      readonly method: string
      readonly path: string
      readonly status: number
    }
  | { readonly type: "policy-thread"; readonly time: number; readonly text: string }

export type GatewayEventType = GatewayEvent["type"]
