// From what is typed into the create form to the spec that is sent. Nothing here draws or asks.
import { typedNumber } from "./json.js";

/** What a fresh form holds; everything is text as typed. */
export const BLANK = {
  name: "", kind: "vector",
  n: "", d: "", n1: "", d1: "", n2: "", d2: "",
  law: "power", power: "2", temperature: "1",
  samples: "", repetitions: "", method: "auto",
  ttl: "", ttlUnit: "3600", fixed: "",
  seed: "", magnitude: "", quantum_bits: "",
  width: "", upper_width: "", estimate_width: "", depth: "", second_width: "", second_upper_width: "",
};

/** Names of sizes by kind, with what they are sizes of. */
export const SHAPES = {
  vector: [["n", "Length n", "1,000,000"]],
  matrix: [["n", "Rows of A, n", "100,000"], ["d", "Columns of A, d", "64"]],
  tensor: [
    ["n1", "Rows of A1, n1", "200,000"], ["d1", "Columns, d1", "64"],
    ["n2", "Rows of A2, n2", "300,000"], ["d2", "Columns, d2", "64"],
  ],
};

/** The numbers that may be left out. */
const NUMBERS = ["samples", "repetitions", "seed", "magnitude", "quantum_bits"];
const SIZES = ["width", "upper_width", "estimate_width", "depth"];
const SECOND_SIZES = ["second_width", "second_upper_width"];

export const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Which sizes a form's advanced part offers. */
export function sizesOf(fields) {
  return fields.kind === "tensor" ? [...SIZES, ...SECOND_SIZES] : SIZES;
}

/** What of the shape is still missing, as names. */
export function missingSizes(fields) {
  return SHAPES[fields.kind].map(([name]) => name).filter((name) => fields[name].trim() === "");
}

/** The spec of the fields, or null while its shape is not complete. */
export function specOf(fields) {
  if (missingSizes(fields).length > 0) return null;
  const shape = {};
  for (const [name] of SHAPES[fields.kind]) shape[name] = typedNumber(fields[name]);
  const spec = { kind: fields.kind, shape };
  if (fields.method !== "auto") spec.method = fields.method;
  const law = lawOf(fields);
  if (law !== undefined) spec.distribution = law;
  for (const name of [...NUMBERS, ...sizesOf(fields)]) {
    const number = typedNumber(fields[name]);
    if (number !== undefined) spec[name] = number;
  }
  const fixed = fixedOf(fields);
  if (fixed.value !== undefined) spec[fixed.name] = fixed.value;
  const ttl = typedNumber(fields.ttl);
  if (ttl !== undefined) spec.ttl_seconds = typeof ttl === "number" ? ttl * Number(fields.ttlUnit) : ttl;
  return spec;
}

/** The distribution where it is not the default. */
function lawOf({ law, power, temperature }) {
  if (law === "softmax") return { softmax: { temperature: typedNumber(temperature) ?? 1 } };
  const raised = typedNumber(power);
  return raised === undefined || raised === 2 ? undefined : { power: raised };
}

/**
 * The fixed x or X as pasted: JSON, or numbers apart by commas and spaces, of an X a row a line.
 * {name, value, note, problem}: value undefined where nothing is pasted or it is no list.
 */
export function fixedOf(fields) {
  const { kind } = fields;
  const text = kind === "vector" ? "" : fields.fixed.trim();
  const name = kind === "tensor" ? "X" : "x";
  if (text === "") return { name, note: "" };
  let value;
  try {
    value = text.startsWith("[") ? JSON.parse(text) : kind === "tensor" ? rowsIn(text) : numbersIn(text);
  } catch (error) {
    return { name, note: "", problem: error instanceof SyntaxError ? "This is not a JSON list of numbers." : error.message };
  }
  return { name, value, note: sizeNote(kind, value, fields) };
}

function rowsIn(text) {
  return text.split(/[\n;]/).filter((line) => line.trim() !== "").map(numbersIn);
}

function numbersIn(text) {
  return text.split(/[\s,;]+/).filter((word) => word !== "").map((word) => {
    const number = Number(word);
    if (!Number.isFinite(number)) throw new Error(`“${word.slice(0, 24)}” is not a number.`);
    return number;
  });
}

/** "31 of 32 numbers", "2 of 2 rows of 3". */
function sizeNote(kind, value, fields) {
  if (kind === "matrix") return `${value.length} of ${fields.d || "d"} numbers`;
  const widths = new Set(value.map((row) => (Array.isArray(row) ? row.length : 0)));
  const width = widths.size === 1 ? [...widths][0] : "different lengths";
  return `${value.length} of ${fields.d1 || "d1"} rows, of ${width} numbers where ${fields.d2 || "d2"} are expected`;
}
