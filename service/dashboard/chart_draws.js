// The rows of one answer of /samples, as the charts and the list of draws read them.

/**
 * Each coordinate once, the most probable first: [{index, whole, value, probability, inclusion,
 * times}]. index as the service wrote it (a number, or digits), or a pair of such for a tensor;
 * whole: the BigInt, or the pair of them; times: how often it was drawn.
 */
export function drawnOnce(drawn) {
  const found = new Map();
  drawn.index.forEach((index, at) => {
    const name = String(index);
    const known = found.get(name);
    if (known) {
      known.times += 1;
      return;
    }
    found.set(name, {
      index,
      whole: Array.isArray(index) ? index.map((one) => BigInt(one)) : BigInt(index),
      value: drawn.value[at],
      probability: drawn.probability[at],
      inclusion: drawn.inclusion_probability?.[at],
      times: 1,
      place: at,
    });
  });
  return [...found.values()].sort((one, other) => (other.probability ?? 0) - (one.probability ?? 0));
}

/** What a draw's index reads like: digits in threes, a pair in parentheses. */
export function indexText(index, count) {
  return Array.isArray(index)
    ? `(${index.map((one) => count(String(one))).join(", ")})`
    : count(String(index));
}
