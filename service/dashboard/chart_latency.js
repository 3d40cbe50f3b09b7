// Latency percentiles as strips on one logarithmic axis: a row for updates, a row for samples.

import { html } from "./vendor/htm-preact.js";
import { Figure, useWidth } from "./chart_frame.js";
import { decades, logarithmic } from "./chart_scales.js";
import { count, duration, seconds } from "./format.js";

const ROW = 40;
/** Below this many pixels seven columns of figures do not fit. */
const NARROW = 520;
const MARGIN = { top: 6, right: 16, bottom: 22, left: 72 };
const PARTS = ["p50", "p90", "p99", "max"];

/** rows: [{label, tone, requests, failed, seconds: {p50, p90, p99, max} or null}]. seconds: the stretch they are of. */
export function LatencyChart({ title = "Latency", rows, seconds: seen, empty = "No requests yet." }) {
  const [ref, width] = useWidth();
  const known = rows.filter((row) => row.seconds);
  const stretch = seen ? ` (last ${duration(seen)}, this replica)` : "";
  return html`
    <${Figure} title=${`${title}${stretch}`} summary=${summary(rows)}>
      <div class=${known.length ? "latency" : ""}>
        <div class="chart-box" ref=${ref}>
          ${known.length
            ? html`<${Strips} rows=${rows} known=${known} width=${width} />`
            : html`<p class="chart-empty">${empty}</p>`}
        </div>
        ${known.length > 0 && html`<${Figures} rows=${rows} narrow=${width < NARROW} />`}
      </div>
    <//>`;
}

function Strips({ rows, known, width }) {
  const bounds = decades(
    Math.min(...known.map((row) => row.seconds.p50)) || 1e-4,
    Math.max(...known.map((row) => row.seconds.max)) || 1e-3,
  );
  const height = MARGIN.top + rows.length * ROW + MARGIN.bottom;
  const bottom = height - MARGIN.bottom;
  const x = logarithmic([bounds[0], bounds.at(-1)], [MARGIN.left, width - MARGIN.right]);
  return html`
    <svg viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} aria-hidden="true">
      ${bounds.map(
        (bound, at) => html`
          <line class="grid" x1=${x(bound)} x2=${x(bound)} y1=${MARGIN.top} y2=${bottom} />
          <text class="tick" x=${x(bound)} y=${bottom + 15}
            text-anchor=${at === bounds.length - 1 ? "end" : "middle"}>${seconds(bound)}</text>`,
      )}
      ${rows.map((row, at) => html`<${Strip} row=${row} x=${x} y=${MARGIN.top + at * ROW + ROW / 2} />`)}
    </svg>`;
}

function Strip({ row, x, y }) {
  const found = row.seconds;
  return html`
    <text class="row-label" x="0" y=${y + 4}>${row.label}</text>
    ${found
      ? html`
          <line class=${`strip-thin tone-${row.tone}`} x1=${x(found.p50)} x2=${x(found.max)} y1=${y} y2=${y} />
          <line class=${`strip-mid tone-${row.tone}`} x1=${x(found.p50)} x2=${x(found.p99)} y1=${y} y2=${y} />
          <line class=${`strip-thick tone-${row.tone}`} x1=${x(found.p50)} x2=${x(found.p90)} y1=${y} y2=${y} />
          ${PARTS.map((part) => html`<line class="strip-mark" x1=${x(found[part])} x2=${x(found[part])}
            y1=${y - 8} y2=${y + 8}><title>${`${part} ${seconds(found[part])}`}</title></line>`)}`
      : html`<text class="tick" x=${MARGIN.left} y=${y + 4}>no requests</text>`}`;
}

const COLUMNS = [...PARTS, "count", "failed"];

/** The figures themselves, beside the strips; where there is little room, a column each. */
function Figures({ rows, narrow }) {
  const cell = (row, column) => html`<td class=${column === "failed" && row.failed ? "is-bad" : ""}>
    ${figure(row, column)}</td>`;
  const across = narrow ? rows : COLUMNS;
  const down = narrow ? COLUMNS : rows;
  const name = (one) => one.label ?? one;
  return html`<table class="numbers latency-figures">
    <thead><tr><td></td>${across.map((one) => html`<th scope="col">${name(one)}</th>`)}</tr></thead>
    <tbody>${down.map((one) => html`<tr>
      <th scope="row">${name(one)}</th>
      ${across.map((other) => (narrow ? cell(other, one) : cell(one, other)))}
    </tr>`)}</tbody>
  </table>`;
}

function figure(row, column) {
  if (column === "count") return count(row.requests);
  if (column === "failed") return count(row.failed);
  return row.seconds ? seconds(row.seconds[column]) : "–";
}

function summary(rows) {
  return rows.map((row) => row.seconds
    ? `${row.label}: ${PARTS.map((part) => `${part} ${seconds(row.seconds[part])}`).join(", ")}.`
    : `${row.label}: no requests.`).join(" ");
}
