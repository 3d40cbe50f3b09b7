// Numbers and times as people read them. A null or undefined is shown as a dash.

const NONE = "–";
const LOCALE = "en";
const BYTE_UNITS = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
const WHOLE = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const DATE = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "medium" });

function missing(value) {
  return value === null || value === undefined || value === "" || Number.isNaN(value);
}

/** A number with `digits` significant digits and no idle zeros. */
export function significant(value, digits = 3) {
  if (missing(value)) return NONE;
  const number = Number(value);
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e15 || size < 1e-4) {
    return number.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  return new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: digits }).format(number);
}

/** Bytes in decimal units, three digits: 226560 is "227 KB". */
export function bytes(value) {
  if (missing(value)) return NONE;
  let size = Number(value);
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < BYTE_UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? WHOLE.format(size) : significant(size)}\u00a0${BYTE_UNITS[unit]}`;
}

/** A whole number with separators; strings of digits keep every one of them. */
export function count(value) {
  if (missing(value)) return NONE;
  if (typeof value === "string" && /^-?\d+$/.test(value)) return WHOLE.format(BigInt(value));
  return WHOLE.format(value);
}

/** A count in at most four characters: 1000000 is "1M". */
export function short(value) {
  if (missing(value)) return NONE;
  const number = Number(value);
  if (Math.abs(number) < 10000) return WHOLE.format(number);
  if (Math.abs(number) >= 1e15) return significant(number, 2);
  return new Intl.NumberFormat(LOCALE, {
    notation: "compact",
    maximumSignificantDigits: 3,
  }).format(number);
}

/** Something a second: 1234.5 is "1,230/s". */
export function rate(value) {
  if (missing(value)) return NONE;
  return `${Number(value) >= 1000 ? short(Math.round(value)) : significant(value)}/s`;
}

/** A duration: 0.0012 is "1.2 ms". */
export function seconds(value) {
  if (missing(value)) return NONE;
  const size = Number(value);
  if (size === 0) return "0\u00a0s";
  if (size < 1e-3) return `${significant(size * 1e6)}\u00a0µs`;
  if (size < 1) return `${significant(size * 1e3)}\u00a0ms`;
  if (size < 120) return `${significant(size)}\u00a0s`;
  return duration(size);
}

/** A longer one in its largest unit or two: 5400 is "1 h 30 min". */
export function duration(value) {
  if (missing(value)) return NONE;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.max(0, Math.round(Number(value)));
  if (rest === 0) return "0\u00a0s";
  const at = units.findIndex(([, size]) => rest >= size);
  const shown = [];
  for (const [unit, size] of units.slice(at, at + 2)) {
    const whole = Math.floor(rest / size);
    if (whole > 0) shown.push(`${whole}\u00a0${unit}`);
    rest -= whole * size;
  }
  return shown.join(" ");
}

/** How long ago a time was: "3 min ago". */
export function ago(iso, now = Date.now()) {
  if (missing(iso)) return NONE;
  const passed = (now - Date.parse(iso)) / 1000;
  if (passed < 5) return "just now";
  return `${duration(coarse(passed))} ago`;
}

/** How long until a time: "in 2 h", "expired", or "never" for null. */
export function until(iso, now = Date.now()) {
  if (iso === null) return "never";
  if (missing(iso)) return NONE;
  const left = (Date.parse(iso) - now) / 1000;
  return left <= 0 ? "expired" : `in ${duration(coarse(left))}`;
}

/** Rounded to where the second unit is worth reading. */
function coarse(value) {
  const step = [86400, 3600, 60].find((unit) => value >= 9.5 * unit) ?? 1;
  return Math.round(value / step) * step;
}

/** A moment in the reader's own time zone. */
export function moment(iso) {
  return missing(iso) ? NONE : DATE.format(new Date(iso));
}

/** A probability: "12.3 %", "1.2e-7 %". Always in percent, so that those of a column compare. */
export function probability(value) {
  if (missing(value)) return NONE;
  const number = Number(value);
  if (number > 0.9995 && number < 1) return ">99.9\u00a0%"; // not certain, though it rounds to it
  return `${significant(number * 100)}\u00a0%`;
}

/** So many times: "1.4", "35", "94 trillion". */
export function factor(times) {
  if (times < 9.5) return significant(times, 2);
  if (times < 1e6) return WHOLE.format(times);
  const words = { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 2 };
  return new Intl.NumberFormat(LOCALE, words).format(times);
}

/** The shape of a sketch: "n = 1,000,000", "100,000 × 64", "(200k × 2) · (300k × 3)". */
export function shape(kind, sizes) {
  if (kind === "vector") return `n = ${count(sizes.n)}`;
  if (kind === "matrix") return `${count(sizes.n)} × ${count(sizes.d)}`;
  return `${count(sizes.n1)} × ${count(sizes.d1)}, ${count(sizes.n2)} × ${count(sizes.d2)}`;
}

/** The law of the draws: "|y|²", "|y|^1.5", "softmax, T = 2". */
export function law(distribution) {
  if (distribution.softmax) {
    return `softmax, T\u00a0=\u00a0${significant(distribution.softmax.temperature)}`;
  }
  const power = Number(distribution.power);
  const raised = { 1: "", 2: "²", 3: "³" }[power];
  return raised === undefined ? `|y|^${significant(power)}` : `|y|${raised}`;
}
