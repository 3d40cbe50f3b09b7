// Who the sketch is, in a line of badges and a few facts.
import { html } from "./vendor/htm-preact.js";
import { Badge, Button, Copyable, PageHeading } from "./components.js";
import { ago, law, moment, shape, until } from "./format.js";

const EXACT = "Exact arithmetic: every cell is proven to hold the true sum of what was streamed; nothing "
  + "overflowed. Draws and estimates of a sketch still have their sampling error.";
const INEXACT = "Not proven exact: numbers became so large that a cell may have overflowed. Values may be wrong "
  + "altogether, for good. Create the sketch again with a larger magnitude.";

/** onSeal, onDelete: what the buttons do; null where the role may not. */
export function SketchHeader({ info, onSeal, onDelete }) {
  return html`<header class="sketch-head">
    <${PageHeading} title=${info.name} actions=${html`
      ${onSeal && html`<${Button} onClick=${onSeal}>Seal…<//>`}
      ${onDelete && html`<${Button} kind="danger" onClick=${onDelete}>Delete…<//>`}`}>
      <${Copyable} inline text=${info.name} label="Copy name">
        <span class="sketch-name">${info.name}</span><//>
    <//>
    <p class="badges">
      <${Badge}>${info.kind}<//>
      <${Badge}>${info.method}<//>
      <${Badge} tone=${info.exact ? "ok" : "danger"} title=${info.exact ? EXACT : INEXACT}>
        ${info.exact ? "exact arithmetic" : "not proven exact"}<//>
      ${info.sealed.map((operand) => html`<${Badge} key=${operand} tone="accent">${operand} sealed<//>`)}
    </p>
    <dl class="sketch-facts">
      ${sides(info).map(([side, size]) => html`<div key=${side}><dt>${side}</dt><dd>${size}</dd></div>`)}
      <div><dt>Drawn in proportion to</dt><dd>${law(info.distribution)}${sampled(info)}</dd></div>
      <div><dt>Created</dt><dd title=${moment(info.created_at)}>${ago(info.created_at)}</dd></div>
      <div><dt>Expires</dt><dd title=${info.expires_at ? moment(info.expires_at) : ""}>${expiry(info)}</dd></div>
      <div><dt>Version</dt><dd><code>${info.version}</code></dd></div>
    </dl>
    ${info.exact
      ? html`<details class="unfold"><summary>What “exact arithmetic” says</summary><p>${EXACT}</p></details>`
      : html`<div class="note note-danger" role="alert"><div class="note-text">
          <strong>Not proven exact</strong><p>${INEXACT}</p></div></div>`}
  </header>`;
}

function sides({ kind, shape: { n1, d1, n2, d2 }, shape: whole }) {
  if (kind !== "tensor") return [[kind === "matrix" ? "Shape of A" : "Shape", shape(kind, whole)]];
  return [["Shape of A1", shape("matrix", { n: n1, d: d1 })], ["Shape of A2", shape("matrix", { n: n2, d: d2 })]];
}

function sampled({ kind }) {
  return { vector: "", matrix: ", y = A x", tensor: ", Y = A1 X A2ᵀ" }[kind];
}

function expiry(info) {
  return info.expires_at === null ? "never" : `${until(info.expires_at)}, unless updated`;
}
