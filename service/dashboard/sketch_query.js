// The query of a question: the x of a matrix (or several), the X of a tensor, as numbers pasted in.
import { html } from "./vendor/htm-preact.js";
import { Button, Field } from "./components.js";
import { count } from "./format.js";
import { QUERY_POINTERS, saidOf } from "./sketch_problems.js";

/** What a question needs: null for a vector, and where x or X was given at creation. */
export function neededQuery(info) {
  if (info.kind === "matrix" && !info.x) return { operand: "x", columns: Number(info.shape.d), rows: 1 };
  if (info.kind === "tensor" && !info.X) {
    return { operand: "X", columns: Number(info.shape.d2), rows: Number(info.shape.d1) };
  }
  return null;
}

/**
 * Reads what was pasted: JSON, or numbers with commas, blanks or lines between them.
 * {fields, given, problem}: the fields of the request ({} for nothing pasted), what was found in
 * words, and what is wrong or null.
 */
export function readQuery(needed, text) {
  if (needed === null || text.trim() === "") return { fields: {}, given: "", problem: null };
  let rows;
  try {
    rows = text.trim().startsWith("[") ? rowsOfJson(text) : rowsOfText(text);
  } catch (error) {
    return { fields: {}, given: "", problem: error.message };
  }
  return needed.operand === "X" ? readTable(needed, rows) : readVectors(needed, rows);
}

function rowsOfJson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("This begins like JSON and is not: a bracket or a comma is missing or too many.");
  }
  const nested = found.some(Array.isArray);
  const rows = nested ? found : [found];
  rows.forEach((row, at) => {
    if (!Array.isArray(row)) throw new Error(`Item ${at + 1} is not a list like the others.`);
    row.forEach((one, place) => checkNumber(one, one, nested ? `${at + 1}, ${place + 1}` : place + 1));
  });
  return rows;
}

function rowsOfText(text) {
  return text.trim().split(/\n+/).map((line) => line.trim()).filter(Boolean).map((line, at) =>
    line.replace(/[,;\s]+$/, "").split(/\s*[,;]\s*|\s+/).map((word, place) => {
      const number = word === "" ? NaN : Number(word);
      checkNumber(number, word, `${at + 1}, ${place + 1}`);
      return number;
    }));
}

function checkNumber(number, shown, place) {
  if (typeof number === "number" && Number.isFinite(number)) return;
  throw new Error(`Number ${place} is “${String(shown).slice(0, 40)}”, which is no finite number.`);
}

/** One x, on one line or on several, or an x on each line. */
function readVectors({ columns }, rows) {
  const total = rows.reduce((sum, row) => sum + row.length, 0);
  const given = `${count(total)} of ${count(columns)} numbers`;
  if (rows.length > 1 && rows.every((row) => row.length === columns)) {
    return { fields: { queries: rows }, given: `${count(rows.length)} queries of ${count(columns)} numbers`, problem: null };
  }
  if (total === columns) return { fields: { x: rows.flat() }, given, problem: null };
  const short = rows.findIndex((row) => row.length !== columns);
  const problem = rows.length > 1 && total > columns
    ? `Line ${short + 1} has ${count(rows[short].length)} numbers; each query has ${count(columns)}.`
    : `${count(total)} numbers are given; ${count(columns)} are expected.`;
  return { fields: {}, given, problem };
}

function readTable({ rows: tall, columns: wide }, rows) {
  const flat = rows.flat();
  const given = `${count(flat.length)} of ${count(tall * wide)} numbers`;
  if (flat.length !== tall * wide) {
    const problem = `${count(flat.length)} numbers are given; ${count(tall)} × ${count(wide)} are expected.`;
    return { fields: {}, given, problem };
  }
  if (rows.length > 1 && rows.some((row) => row.length !== wide)) {
    return { fields: {}, given, problem: `Each of the ${count(tall)} rows has ${count(wide)} numbers.` };
  }
  const X = Array.from({ length: tall }, (_, at) => flat.slice(at * wide, (at + 1) * wide));
  return { fields: { X }, given, problem: null };
}

/** The field for x or X, which draws, estimates and norms of the page share. */
export function QueryPanel({ info, needed, text, onText, read, problem }) {
  if (needed === null) return html`<p class="muted">${fixedNote(info)}</p>`;
  const { operand, rows, columns } = needed;
  const wanted = operand === "x"
    ? `x: ${count(columns)} numbers. Several lines, or a JSON list of lists, are several queries.`
    : `X: ${count(rows)} rows of ${count(columns)} numbers, as lines or as a JSON list of lists.`;
  const hint = `${read.given ? `${read.given} given. ` : ""}${wanted} Leave it empty if ${operand} was streamed.`;
  return html`<div class="query">
    <${Field} label=${operand === "x" ? "Query x" : "Query X"} hint=${hint} problem=${read.problem ?? problem}>
      <textarea rows="3" class="mono" spellcheck="false" autocomplete="off" value=${text}
        placeholder=${operand === "x" ? "0.5, -1, 0.25, …" : "[[1, 0, …], [0, 1, …]]"}
        onInput=${(event) => onText(event.target.value)}></textarea>
    <//>
    <p class="fill">Fill in
      <${Button} small onClick=${() => onText(filled(needed, normal))}>random numbers<//>
      <${Button} small onClick=${() => onText(filled(needed, unit))}>${operand === "x" ? "the first axis" : "the identity"}<//>
      ${text && html`<${Button} small onClick=${() => onText("")}>nothing<//>`}
    </p>
  </div>`;
}

/** Said where the question was asked as well: the field of the query may be out of sight. */
export function AboutQuery({ problem }) {
  const said = saidOf(problem, ...QUERY_POINTERS);
  return said ? html`<p class="field-problem" role="alert">The query above: ${said}.</p>` : null;
}

function fixedNote({ kind }) {
  if (kind === "vector") return null;
  return kind === "matrix" ? "x was given when the sketch was made: every question is about it."
    : "X was given when the sketch was made: every question is about it.";
}

function filled({ operand, rows, columns }, number) {
  const table = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (__, column) => number(row, column)));
  return operand === "x" ? table[0].join(", ") : table.map((row) => row.join(", ")).join("\n");
}

function unit(row, column) {
  return row === column ? 1 : 0;
}

/** A normal number of three decimals (Box and Muller). */
function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return Number((radius * Math.cos(2 * Math.PI * Math.random())).toFixed(3));
}
