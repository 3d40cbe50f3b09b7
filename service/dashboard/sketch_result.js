// What one request drew: in words, as a picture, and as a list.
import { html, useMemo, useState } from "./vendor/htm-preact.js";
import { BarsChart } from "./chart_bars.js";
import { indexText } from "./chart_draws.js";
import { PAGE, Pager } from "./chart_frame.js";
import { clock } from "./chart_line.js";
import { MapChart } from "./chart_map.js";
import { Badge, Field } from "./components.js";
import { count, law, probability, significant } from "./format.js";
import { AsJson, Curl } from "./sketch_curl.js";

const TONES = { ok: "ok", partial: "warn", failed: "danger", empty: "plain" };

/** result: {answers, body, whole, at}; whole: as the service sent it. stale: the sketch has changed since. */
export function DrawResult({ info, session, result, stale }) {
  const [which, setWhich] = useState(0);
  const { answers, body } = result;
  const answer = answers[Math.min(which, answers.length - 1)];
  return html`<div class="draw-result">
    ${answers.length > 1 && html`<${Field} label="Query" class="inline-field">
      <select value=${String(which)} onChange=${(event) => setWhich(Number(event.target.value))}>
        ${answers.map((one, at) => html`<option value=${String(at)}>${at + 1} of ${answers.length}: ${one.status}</option>`)}
      </select><//>`}
    <p class="draw-status"><${Badge} tone=${TONES[answer.status] ?? "plain"}>${answer.status}<//>
      ${statusText(answer, body, info)}</p>
    <${DrawFacts} info=${info} answer=${answer} at=${result.at} stale=${stale} />
    ${answer.index.length > 0 && html`<div class="draw-picture">
      ${info.kind === "tensor"
        ? html`<${MapChart} drawn=${answer} shape=${info.shape} />`
        : html`<${BarsChart} drawn=${answer} size=${info.shape.n} law=${law(info.distribution)}
            coordinate=${info.kind === "matrix" ? "row" : "index"} />`}
      <${DrawList} answer=${answer} />
    </div>`}
    <div class="takeaways">
      <${Curl} session=${session} name=${info.name} question="samples" body=${body} />
      <${AsJson} summary="As JSON" label="Copy answer" value=${result.whole} />
    </div>
  </div>`;
}

/** What a status means, of this answer. */
export function statusText(answer, body, info) {
  const asked = body.count ?? info.samples;
  const got = answer.index.length;
  const most = info.kind === "tensor" && info.method === "sketch" ? info.samples : Infinity;
  if (answer.status === "partial" && got === most) {
    return `${count(got)} of ${count(String(asked))} were served: a tensor’s sketch holds as many as its spec’s samples.`;
  }
  return {
    ok: `All ${count(String(asked))} draws were served.`,
    partial: `${count(got)} of ${count(String(asked))} were served: there are no more coordinates to draw, or the next one `
      + "did not stand out of the noise, and nothing is better than a guess.",
    failed: "None could be served with confidence, although y is not zero. A sketch with more samples or a larger width would.",
    empty: "y is zero: there is nothing to draw.",
  }[answer.status] ?? answer.status;
}

function DrawFacts({ info, answer, at, stale }) {
  const softmax = Boolean(info.distribution.softmax);
  const facts = [
    [softmax ? "log Σ exp(y/T)" : html`<${NormName} power=${info.distribution.power} />`, significant(answer.norm, 6)],
    [softmax ? "Threshold (log)" : "Threshold", significant(answer.threshold, 3)],
    ["Draw number", answer.draws === null ? String(answer.draw) : `${answer.draw}, of ${answer.draws} ${answer.draws === 1 ? "list" : "lists"}`],
    ["Drawn", `${clock(at)}${stale ? ", before the latest updates" : ""}`],
  ];
  return html`<dl class="sketch-facts">
    ${facts.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}
    ${!answer.exact && html`<div class="is-bad"><dt>Arithmetic</dt><dd>not proven exact: values may be wrong</dd></div>`}
  </dl>`;
}

/** ‖y‖ with its power below. */
export function NormName({ power }) {
  return html`‖y‖<sub>${significant(power)}</sub>`;
}

const COLUMNS = [
  { field: "order", label: "#", of: (row) => row.order },
  { field: "index", label: "Index", of: (row) => row.order },
  { field: "value", label: "Value", of: (row) => -Math.abs(row.value ?? Infinity) },
  { field: "probability", label: "Probability", of: (row) => -(row.probability ?? Infinity) },
  { field: "inclusion", label: "Inclusion", of: (row) => -(row.inclusion ?? Infinity) },
];

/** The draws as a table that can be sorted, a page at a time. */
function DrawList({ answer }) {
  const [sorting, setSorting] = useState({ field: "order", reversed: false });
  const [start, setStart] = useState(0);
  const rows = useMemo(() => sortedRows(answer, sorting), [answer, sorting]);
  const columns = answer.inclusion_probability ? COLUMNS : COLUMNS.slice(0, 4);
  const first = start < rows.length ? start : 0;
  const last = Math.min(first + PAGE, rows.length);
  const sort = (field) => {
    setStart(0);
    setSorting((now) => ({ field, reversed: now.field === field && !now.reversed }));
  };
  return html`<div class="draw-list">
    <div class="chart-table" role="region" aria-label="The draws as a table" tabindex="0">
      <table class="numbers">
        <thead><tr>${columns.map((column) => html`<${SortHead} column=${column} sorting=${sorting} onSort=${sort} />`)}</tr></thead>
        <tbody>${rows.slice(first, last).map((row) => html`<tr>
          <td>${row.order + 1}</td>
          <th scope="row">${indexText(row.index, count)}</th>
          <td>${significant(row.value, 6)}</td>
          <td>${probability(row.probability)}</td>
          ${answer.inclusion_probability && html`<td>${probability(row.inclusion)}</td>`}
        </tr>`)}</tbody>
      </table>
    </div>
    ${rows.length > PAGE && html`<${Pager} ...${{ first, last, total: rows.length, setStart }} />`}
  </div>`;
}

function SortHead({ column, sorting, onSort }) {
  const own = sorting.field === column.field;
  const state = own ? (sorting.reversed ? "descending" : "ascending") : "none";
  return html`<th scope="col" aria-sort=${state}>
    <button type="button" class="sort" onClick=${() => onSort(column.field)}>
      ${column.label}<span aria-hidden="true">${own ? (sorting.reversed ? " ↑" : " ↓") : ""}</span>
    </button></th>`;
}

function sortedRows(answer, { field, reversed }) {
  const rows = answer.index.map((index, order) => ({
    index, order,
    whole: [index].flat().map((one) => BigInt(one)),
    value: answer.value[order],
    probability: answer.probability[order],
    inclusion: answer.inclusion_probability?.[order],
  }));
  const { of } = COLUMNS.find((column) => column.field === field);
  rows.sort(field === "index" ? byCoordinate : (one, other) => of(one) - of(other) || one.order - other.order);
  return reversed ? rows.reverse() : rows;
}

function byCoordinate(one, other) {
  for (let at = 0; at < one.whole.length; at += 1) {
    if (one.whole[at] !== other.whole[at]) return one.whole[at] < other.whole[at] ? -1 : 1;
  }
  return one.order - other.order;
}
