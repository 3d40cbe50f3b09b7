// JSON that keeps every digit. Coordinates, sizes and seeds of sketches go up to 2^63 - 1, and
// JSON.parse rounds what is over 2^53.

// A string, or a number: strings are matched so that digits inside them are left alone.
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const WHOLE = /^-?\d+$/;

/** Parses JSON; whole numbers that a double cannot hold come as strings of digits. */
export function readJson(text) {
  const kept = text.replace(TOKEN, (token) =>
    token.length > 15 && WHOLE.test(token) && !Number.isSafeInteger(Number(token))
      ? `"${token}"`
      : token,
  );
  return JSON.parse(kept);
}

/** Writes JSON; a BigInt becomes a number with all its digits. What is undefined is left out. */
export function writeJson(value, indent = 0) {
  const marks = new Map();
  // A mark that no text of the caller's can be: it is drawn anew each time.
  const mark = `#${Math.random().toString(36).slice(2)}#`;
  const text = JSON.stringify(
    value,
    (_, one) => {
      if (typeof one !== "bigint") return one;
      marks.set(`"${mark}${one}"`, String(one));
      return `${mark}${one}`;
    },
    indent,
  );
  let written = text;
  for (const [marked, digits] of marks) written = written.replaceAll(marked, digits);
  return written;
}

/** A number as typed: a BigInt where only that keeps the digits; undefined for an empty text,
 * and the text itself where it is no number, for the service to refuse. */
export function typedNumber(text) {
  const plain = text.trim().replace(/(?<=\d)[_\u202f\u00a0' ,](?=\d{3}(?!\d))/g, "");
  if (plain === "") return undefined;
  const power = /^(\d{1,3})\^(\d{1,3})$/.exec(plain); // 2^40
  if (power !== null) return fitted(BigInt(power[1]) ** BigInt(power[2]));
  if (/^[+-]?\d+$/.test(plain)) return fitted(BigInt(plain.replace("+", "")));
  const number = Number(plain);
  return Number.isFinite(number) ? number : text.trim();
}

function fitted(whole) {
  const number = Number(whole);
  return Number.isSafeInteger(number) ? number : whole;
}
