/** Keys as text: what stands in configurations and in verdicts, as the hexadecimal digits that Rust reads. */

/** Bytes of a pre-shared key, as many as the native library takes. */
export const PSK_MAX = 32

const HEX = /^hex:((?:[0-9a-f]{2})+)$/i

/** Text, or `hex:` and digits, as digits. */
export function toHex(text: string): string {
  return HEX.exec(text)?.[1]?.toLowerCase() ?? Buffer.from(text, "utf8").toString("hex")
}
