/** Numbers as people read them. */
export function perSecond(value: number): string {
  return value === 0 ? "0" : value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(1)
}

export function whole(value: number): string {
  return value.toLocaleString("en-US")
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  const scaled = value / 1_024 ** step
  return `${step > 0 && scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${units[step]}`
}

export function duration(seconds: number): string {
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(Math.floor)
  return days
    ? `${days} d ${hours} h`
    : hours
      ? `${hours} h ${minutes} min`
      : `${minutes} min ${Math.floor(seconds % 60)} s`
}

export function clock(time: number): string {
  return new Date(time).toLocaleTimeString("en-GB")
}
