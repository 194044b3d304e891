/** A free port of 127.0.0.1 that no connection is given while nobody listens; default of `transport`: `tcp`. */
export function freePort(transport?: "tcp" | "udp"): Promise<number>
