/** Packets as the tests of the specification send them, with what a statement is not about filled in. */

export const subscribe = (topic: string, options: object = {}) => {
  return { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 2, ...options }] }
}

export const unsubscribe = (...unsubscriptions: string[]) => ({ cmd: "unsubscribe", messageId: 7, unsubscriptions })

export const publish = (topic: string, payload: string | Buffer, rest: object = {}) => {
  return { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...rest }
}

/** A client identifier with a session that outlives its connection. */
export const kept = (clientId: string, rest: object = {}) => {
  return { clientId, clean: false, properties: { sessionExpiryInterval: 60 }, ...rest }
}
