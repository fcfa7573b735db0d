// How numbers, times and identifiers are written.

const bytePrefixes = ["B", "kB", "MB", "GB", "TB"];

// Three digits that say something: 0.42, 9.1, 87, 1234.
export function short(value) {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  if (size >= 10) return value.toFixed(1).replace(/\.0$/, "");
  return value.toFixed(2).replace(/\.?0+$/, "");
}

export function bytes(value) {
  let size = value;
  let prefix = 0;
  while (size >= 999.5 && prefix < bytePrefixes.length - 1) {
    size /= 1000;
    prefix += 1;
  }
  return `${short(prefix === 0 ? Math.round(size) : size)} ${bytePrefixes[prefix]}`;
}

export const bytesPerSecond = (value) => `${bytes(value)}/s`;

export function count(value) {
  if (value >= 999_500_000) return `${short(value / 1e9)} G`;
  if (value >= 999_500) return `${short(value / 1e6)} M`;
  return short(value);
}

export const perSecond = (value) => `${count(value)}/s`;

export function seconds(value) {
  if (value < 0.0009995) return `${short(value * 1e6)} µs`;
  if (value < 0.9995) return `${short(value * 1e3)} ms`;
  return `${short(value)} s`;
}

// "3 d 4 h", "12 min", "5 s"
export function duration(ms) {
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];
  const at = units.findIndex(([, size]) => ms >= size);
  if (at < 0) return "0 s";
  const [unit, size] = units[at];
  const whole = Math.floor(ms / size);
  const next = units[at + 1];
  const rest = next ? Math.floor((ms % size) / next[1]) : 0;
  return rest > 0 && at < 2 ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

const pad = (n) => String(n).padStart(2, "0");

export function clock(ms, withSeconds = false) {
  const at = new Date(ms);
  const text = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  return withSeconds ? `${text}:${pad(at.getSeconds())}` : text;
}

export function date(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(ms, true)}`;
}

// The first and last digits; people compare those.
export function shortIdentifier(text) {
  return text.length > 20 ? `${text.slice(0, 9)}…${text.slice(-6)}` : text;
}

// policy_denied, tcp-inlet: as words.
export const words = (name) => name.replace(/[_-]/g, " ");
