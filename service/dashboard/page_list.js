// All sketches of the tenant: searched, page by page, kept up to date.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Unreachable, path } from "./api.js";
import { Button, ButtonLink, Copyable, Empty, PageHeading, ProblemNote, announce } from "./components.js";
import { curl } from "./curl.js";
import { bytes, count, short } from "./format.js";
import { SketchTable, SkeletonTable } from "./list_table.js";
import { useDebounced, usePolled } from "./polling.js";

const REFRESH_SECONDS = 4;
const PAGE_SIZES = [10, 25, 50, 100];
const FIRST_PLACE = { search: "", limit: 25, cursors: [] };

/** place: where the list was left, kept by the app. */
export function ListPage({ api, session, place }) {
  const [where, setWhere] = useState({ ...FIRST_PLACE, ...place.current });
  useEffect(() => {
    place.current = where;
  }, [where]);
  const contains = useDebounced(where.search.trim());
  const cursor = where.cursors.at(-1);
  const { limit } = where;
  const { data, problem, asOf, loading, retry } = usePolled(
    async ({ signal }) => ({
      ...(await api.get(path(["sketches"], { contains, limit, cursor }), { signal })),
      asked: { contains, limit, cursor },
    }),
    [api, contains, limit, cursor],
    { seconds: REFRESH_SECONDS },
  );
  useAnnounced(data);

  const canCreate = session.may("write");
  const bare = data !== null && data.sketches.length === 0 && !data.asked.contains && !data.asked.cursor;
  const change = (changes) => setWhere((last) => ({ ...last, cursors: [], ...changes }));
  return html`
    <${PageHeading}
      title="Sketches"
      actions=${canCreate && html`<${ButtonLink} kind="primary" href="#/new">New sketch<//>`}
    />
    ${bare && !where.search
      ? html`<${FirstSketch} session=${session} canCreate=${canCreate} />`
      : html`
          <div class="list-tools">
            <${Search} value=${where.search} onInput=${(search) => change({ search })} />
            <${Totals} data=${data} quota=${session.quota} />
          </div>
          ${problem && !(data !== null && isPassing(problem)) &&
          html`<${ProblemNote} problem=${problem} retry=${retry} />`}
          ${data === null && problem === null && html`<${SkeletonTable} />`}
          ${data !== null && data.sketches.length > 0 &&
          html`<div class=${problem !== null || loading ? "is-stale" : ""}>
            <${SketchTable} sketches=${data.sketches} />
          </div>`}
          ${data !== null && data.sketches.length === 0 &&
          html`<${NothingFound} asked=${data.asked} clear=${() => change({ search: "" })} first=${() => change({})} />`}
          ${data !== null && (data.sketches.length > 0 || data.asked.cursor) &&
          html`<${Paging}
            where=${where}
            data=${data}
            asOf=${problem === null ? null : asOf}
            onSize=${(size) => change({ limit: size })}
            onPrevious=${() => setWhere((last) => ({ ...last, cursors: last.cursors.slice(0, -1) }))}
            onNext=${() => setWhere((last) => ({ ...last, cursors: [...last.cursors, data.next_cursor] }))}
          />`}
        `}
  `;
}

/** What the shell tells already, and what is over once the service is back. */
function isPassing(problem) {
  return problem instanceof Unreachable || problem.status === 503;
}

/** Tells how many were found, after a question and not after each refresh. */
function useAnnounced(data) {
  const told = useRef(null);
  useEffect(() => {
    if (data === null) return;
    const asked = JSON.stringify(data.asked);
    if (told.current !== null && told.current !== asked) {
      const found = data.sketches.length;
      announce(`${found === 0 ? "No" : found} ${found === 1 ? "sketch" : "sketches"} on this page`);
    }
    told.current = asked;
  }, [data]);
}

function Search({ value, onInput }) {
  const input = useRef(null);
  useEffect(() => {
    function focus(event) {
      const busy = event.target.closest?.("input, textarea, select, [contenteditable], dialog");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || busy) return;
      event.preventDefault();
      input.current.focus();
      input.current.select();
    }
    document.addEventListener("keydown", focus);
    return () => document.removeEventListener("keydown", focus);
  }, []);
  return html`<form class="search" role="search" onSubmit=${(event) => event.preventDefault()}>
    <svg class="search-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d="M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9ZM10.4 10.4l3.3 3.3" />
    </svg>
    <input
      ref=${input}
      type="search"
      aria-label="Search names"
      aria-keyshortcuts="/"
      placeholder="Search names"
      autocomplete="off"
      spellcheck=${false}
      maxlength="128"
      value=${value}
      onInput=${(event) => onInput(event.target.value)}
      onKeyDown=${(event) => event.key === "Escape" && onInput("")}
    />
    <kbd aria-hidden="true">/</kbd>
  </form>`;
}

/** What there is beside what there may be; sums only where the page shows everything. */
function Totals({ data, quota }) {
  if (data === null) return null;
  const all = !data.asked.contains && !data.asked.cursor && data.next_cursor === null;
  const states = data.sketches.reduce((sum, one) => sum + one.memory_bytes.state, 0);
  return html`<ul class="totals">
    <${Total} used=${all ? data.sketches.length : null} most=${quota.sketches} format=${count} what="sketches" />
    <${Total} used=${all ? states : null} most=${quota.state_bytes} format=${bytes} what="of states" />
    <${Total} used=${null} most=${quota.updates_per_second} format=${short} what="updates a second" />
  </ul>`;
}

/** used: null where it is not known here. most: null where there is no limit. */
function Total({ used, most, format, what }) {
  if (used === null) return most !== null && html`<li>at most <b>${format(most)}</b> ${what}</li>`;
  const near = most !== null && used > 0.8 * most;
  return html`<li>
    <b class=${near ? "is-near" : ""}>${format(used)}</b>${most !== null && html` of ${format(most)}`} ${
      used === 1 && most === null ? what.replace("sketches", "sketch") : what}
  </li>`;
}

function Paging({ where, data, asOf, onSize, onPrevious, onNext }) {
  const found = data.sketches.length;
  const before = where.cursors.length * where.limit;
  return html`<nav class="paging" aria-label="Pages">
    <span class="paging-range">
      ${found > 0 && html`${count(before + 1)}–${count(before + found)}`}
      ${asOf !== null && html` <span class="muted">as of ${new Date(asOf).toLocaleTimeString()}</span>`}
    </span>
    <label class="paging-size">
      a page
      <select value=${where.limit} onChange=${(event) => onSize(Number(event.target.value))}>
        ${PAGE_SIZES.map((size) => html`<option key=${size} value=${size} selected=${size === where.limit}>${size}</option>`)}
      </select>
    </label>
    <${Button} small disabled=${where.cursors.length === 0} onClick=${onPrevious}>Previous<//>
    <${Button} small disabled=${data.next_cursor === null} onClick=${onNext}>Next<//>
  </nav>`;
}

function NothingFound({ asked, clear, first }) {
  if (!asked.contains) {
    return html`<${Empty} title="Nothing on this page any more">
      <${Button} onClick=${first}>To the first page<//>
    <//>`;
  }
  return html`<${Empty} title="No name holds this text">
    <p>No sketch has <code>${asked.contains}</code> in its name. Letters count alike, large or small.</p>
    <${Button} onClick=${clear}>Clear the search<//>
  <//>`;
}

const FIRST_SPEC = { kind: "vector", shape: { n: 1000000 } };

function FirstSketch({ session, canCreate }) {
  const commands = [
    curl(session, "PUT", "/v1/sketches/hello", FIRST_SPEC),
    curl(session, "POST", "/v1/sketches/hello/updates", { index: [5, 9], delta: [1.5, -2] }),
    curl(session, "POST", "/v1/sketches/hello/samples", { count: 1 }),
  ];
  return html`<${Empty} title="No sketches yet">
    <p>
      A sketch keeps a stream of signed updates of a long vector, or of matrices, in little memory, and draws coordinates of it in proportion to their size.
    </p>
    ${canCreate
      ? html`<p><${ButtonLink} kind="primary" href="#/new">Make the first one<//></p>
          <p>Or from a terminal: make one, change it, draw from it.</p>
          <${Copyable} text=${commands.join("\n")} label="Copy" />`
      : html`<p>A key with the role <code>write</code> can make one; this one may look and draw.</p>`}
  <//>`;
}
