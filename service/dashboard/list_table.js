// The sketches of a page as a table; on a phone each row is a card.
import { html } from "./vendor/htm-preact.js";
import { Badge, Skeleton } from "./components.js";
import { bytes, count, law, moment, shape, until } from "./format.js";
import { sketchAddress } from "./router.js";

const COLUMNS = [
  ["name", "Name"],
  ["kind", "Kind"],
  ["shape", "Shape"],
  ["method", "Method"],
  ["memory", "Memory", "state and log"],
  ["updates", "Updates", "increments accepted"],
  ["exact", "Arithmetic", "whether every cell is proven to hold the true number"],
  ["expires", "Expires"],
];

// Roles are said in full: what is drawn as cards is no table to a browser any more.
function Table({ label, busy, children }) {
  return html`<table class="sketches" role="table" aria-label=${label} aria-busy=${busy}>
    <thead role="rowgroup">
      <tr role="row">
        ${COLUMNS.map(
          ([name, title, hint]) =>
            html`<th key=${name} role="columnheader" scope="col" class=${`column-${name}`} title=${hint}>
              ${title}${name === "memory" && html` <span class="key-state">state</span> <span class="key-log">log</span>`}
            </th>`,
        )}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${children}
    </tbody>
  </table>`;
}

export function SketchTable({ sketches }) {
  const largest = Math.max(...sketches.map((one) => one.memory_bytes.state + one.memory_bytes.log), 1);
  return html`<${Table} label="Sketches">
    ${sketches.map((one) => html`<${Row} key=${one.name} sketch=${one} largest=${largest} />`)}
  <//>`;
}

function Cell({ name, children }) {
  const [, title] = COLUMNS.find(([column]) => column === name);
  return html`<td role="cell" class=${`column-${name}`} data-label=${title}>${children}</td>`;
}

function Row({ sketch, largest }) {
  const { state, log } = sketch.memory_bytes;
  return html`<tr role="row">
    <${Cell} name="name"><a class="row-link" href=${sketchAddress(sketch.name)}>${sketch.name}</a><//>
    <${Cell} name="kind">${sketch.kind}<//>
    <${Cell} name="shape">${shape(sketch.kind, sketch.shape)}<//>
    <${Cell} name="method">${sketch.method} <span class="muted">${law(sketch.distribution)}</span><//>
    <${Cell} name="memory">
      <span class="memory" title=${`state ${count(state)} bytes, log ${count(log)} bytes`}>
        <span class="memory-text">${bytes(state)}${log > 0 && html` <span class="muted">+ ${bytes(log)}</span>`}</span>
        <span class="memory-bar" aria-hidden="true">
          <span class="is-state" style=${{ width: `${(100 * state) / largest}%` }}></span>
          <span class="is-log" style=${{ width: `${(100 * log) / largest}%` }}></span>
        </span>
      </span>
    <//>
    <${Cell} name="updates">${count(sketch.updates)}<//>
    <${Cell} name="exact">
      ${sketch.exact
        ? html`<span class="muted">exact</span>`
        : html`<${Badge} tone="warn" title="Not proven exact: a number may have grown beyond what a cell holds">not proven<//>`}
    <//>
    <${Cell} name="expires">
      <span class=${sketch.expires_at === null ? "muted" : ""} title=${sketch.expires_at && moment(sketch.expires_at)}>
        ${until(sketch.expires_at)}
      </span>
    <//>
  </tr>`;
}

/** Rows whose text is on its way. */
export function SkeletonTable({ rows = 8 }) {
  return html`<${Table} label="Sketches, loading" busy="true">
    ${Array.from(
      { length: rows },
      (_, at) => html`<tr key=${at} role="row">
        ${COLUMNS.map(
          ([name], column) => html`<${Cell} key=${name} name=${name}>
            <${Skeleton} width=${`${45 + ((at * 7 + column * 13) % 40)}%`} />
          <//>`,
        )}
      </tr>`,
    )}
  <//>`;
}
