// Scales and ticks of the charts: pure functions of numbers.

/** Linear scale from [d0, d1] to [r0, r1]; a domain of no width maps to the middle. */
export function linear([d0, d1], [r0, r1]) {
  const width = d1 - d0;
  return (value) => (width === 0 ? (r0 + r1) / 2 : r0 + ((value - d0) / width) * (r1 - r0));
}

/** Logarithmic scale; values at or below 0 count as the lower end. */
export function logarithmic([d0, d1], range) {
  const scale = linear([Math.log10(d0), Math.log10(d1)], range);
  return (value) => scale(Math.log10(Math.max(value, d0)));
}

/** About `wanted` round steps from 0 to at least `max`. */
export function ticksTo(max, wanted = 4) {
  if (!(max > 0) || !Number.isFinite(max)) return [0, 1];
  const step = decimalStep(max / wanted);
  const ticks = [0];
  while (ticks.at(-1) < max * 0.9999) ticks.push(ticks.length * step);
  return ticks;
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function decimalStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  const times = [1, 2, 5, 10].find((one) => one * power >= least * 0.9999);
  return times * power;
}

/** Powers of ten that enclose [low, high]. */
export function decades(low, high) {
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(high) - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at));
}

/**
 * Where a coordinate lies in [low, high), 0 to 1. Coordinates are whole numbers up to 2^63 that
 * may come as strings: only the quotient becomes a float.
 */
export function fraction(index, low, high) {
  const width = BigInt(high) - BigInt(low);
  if (width <= 0n) return 0.5;
  return Number(((BigInt(index) - BigInt(low)) << 40n) / width) / 2 ** 40;
}

/** Round coordinates in [low, high), as BigInts: about `wanted` of them, never two alike. */
export function coordinateTicks(low, high, wanted = 4) {
  const [first, end] = [BigInt(low), BigInt(high)];
  const width = end - first;
  if (width <= 1n) return [first];
  const rough = width / BigInt(wanted) || 1n;
  const power = 10n ** BigInt(rough.toString().length - 1);
  const step = [1n, 2n, 5n, 10n].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let at = ((first + step - 1n) / step) * step; at < end; at += step) ticks.push(at);
  return ticks;
}

/** The smallest and largest of whole numbers, as BigInts. */
export function extent(indices) {
  let [low, high] = [null, null];
  for (const one of indices) {
    const value = BigInt(one);
    if (low === null || value < low) low = value;
    if (high === null || value > high) high = value;
  }
  return [low, high];
}

/** How much of [0, size) lies between the least and the greatest of the indices, 0 to 1; 1 of none. */
export function covered(indices, size) {
  const [low, high] = extent(indices);
  return low === null ? 1 : Number(high - low + 1n) / Number(size);
}
