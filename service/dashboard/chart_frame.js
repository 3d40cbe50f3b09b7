// What every chart has: a title and a description, a legend, the same numbers as a table, a width
// that follows the page, and values read by hovering or with the arrow keys.

import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Button, useId } from "./components.js";
import { count } from "./format.js";

/** [ref, width in CSS pixels of the element it is put on]. */
export function useWidth(initial = 560) {
  const ref = useRef(null);
  const [width, setWidth] = useState(initial);
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return undefined;
    const measure = () => setWidth(Math.max(200, Math.floor(box.clientWidth)));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/**
 * A figure. `summary` says in words what is seen. `table()` gives {columns: [text], rows: [[text]]},
 * the same numbers; it is called only when the table is looked at. `controls`: buttons in the head.
 */
export function Figure({ title, summary, legend, controls, table, note, children }) {
  const [tabular, setTabular] = useState(false);
  const id = useId("figure");
  return html`
    <figure class="chart" aria-labelledby=${id}>
      <figcaption class="chart-head">
        <span class="chart-title" id=${id}>${title}</span>
        ${legend && html`<${Legend} entries=${legend} />`}
        <span class="chart-controls">
          ${!tabular && controls}
          ${table &&
          html`<${Button} small aria-pressed=${tabular} onClick=${() => setTabular(!tabular)}>
            ${tabular ? "Chart" : "Table"}<//>`}
        </span>
      </figcaption>
      <p class="visually-hidden">${summary}</p>
      ${tabular && table ? html`<${NumbersTable} label=${title} ...${table()} />` : children}
      ${note && html`<p class="chart-note">${note}</p>`}
    </figure>`;
}

/** entries: [{label, tone, mark?: "line"|"dot"|"bar"}]. */
export function Legend({ entries }) {
  return html`<ul class="chart-legend">
    ${entries.map(
      (one) => html`<li key=${one.label}>
        <span class=${`swatch swatch-${one.mark ?? "bar"} tone-${one.tone}`} aria-hidden="true"></span>
        ${one.label}
      </li>`,
    )}
  </ul>`;
}

/** Rows of a long table that are in the document at once. */
export const PAGE = 100;

/** A table of texts, a page at a time: ten thousand rows need not be in the document at once. */
export function NumbersTable({ label, columns, rows }) {
  const [start, setStart] = useState(0);
  const first = start < rows.length ? start : 0;
  const last = Math.min(first + PAGE, rows.length);
  return html`
    <div class="chart-table" role="region" aria-label=${`${label}, as a table`} tabindex="0">
      <table class="numbers">
        <thead><tr>${columns.map((one) => html`<th scope="col">${one}</th>`)}</tr></thead>
        <tbody>
          ${rows.slice(first, last).map(
            (row) => html`<tr>${row.map((cell, at) =>
              at === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`)}</tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${rows.length > PAGE && html`<${Pager} ...${{ first, last, total: rows.length, setStart }} />`}`;
}

/** Back and forth through pages of a long table. */
export function Pager({ first, last, total, setStart }) {
  return html`<p class="pager">
    <${Button} small disabled=${first === 0} onClick=${() => setStart(first - PAGE)}>Previous<//>
    <span>${count(first + 1)} to ${count(last)} of ${count(total)}</span>
    <${Button} small disabled=${last === total} onClick=${() => setStart(first + PAGE)}>Next<//>
  </p>`;
}

/**
 * The drawing area: an svg that can be focused, with a line of text below it for what is pointed
 * at. `nearest(x, y)` gives the position of the point next to there or null, `length` how many
 * points there are in reading order, `reading(at)` the text of one. `children(at)` draws.
 */
export function Plot({ width, height, label, length, nearest, reading, resting, children }) {
  const [at, setAt] = useState(null);
  const shown = at !== null && at < length ? at : null;
  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const scale = width / box.width;
    setAt(length ? nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale) : null);
  };
  const keys = (event) => {
    const to = target(event.key, shown, length);
    if (to === undefined) return;
    event.preventDefault();
    setAt(to);
  };
  return html`
    <div class="plot" tabindex="0" role="group" aria-label=${`${label}. Arrow keys read values.`}
      onKeyDown=${keys} onBlur=${() => setAt(null)}>
      <svg viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} aria-hidden="true"
        onPointerMove=${point} onPointerDown=${point} onPointerLeave=${() => setAt(null)}>
        ${children(shown)}
      </svg>
      ${/* What nobody has pointed at moves by itself: it is there to be read, not read out. */ null}
      <div class="plot-reading" aria-hidden=${shown === null ? undefined : "true"}>
        ${shown === null ? (resting ?? "\u00a0") : reading(shown)}
      </div>
      <output class="visually-hidden">${shown === null ? "" : reading(shown)}</output>
    </div>`;
}

/** Where a key leads: undefined for keys that mean nothing here. */
function target(key, at, length) {
  if (key === "Escape") return null;
  if (!length) return undefined;
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
  if (key === "Home") return 0;
  if (key === "End") return length - 1;
  if (!(key in steps)) return undefined;
  if (at === null) return steps[key] > 0 ? 0 : length - 1;
  return Math.min(length - 1, Math.max(0, at + steps[key]));
}
