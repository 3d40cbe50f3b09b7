// Drawing from the sketch: the form, and drawing again while updates stream.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Unreachable, path } from "./api.js";
import { Button, Field, ProblemNote, announce } from "./components.js";
import { typedNumber } from "./json.js";
import { AboutQuery } from "./sketch_query.js";
import { DrawResult } from "./sketch_result.js";
import { QUERY_POINTERS, restOf, saidOf } from "./sketch_problems.js";

const FIELDS = ["/count", "/replacement", "/draw", ...QUERY_POINTERS];

/** query: what readQuery made of the shared field. onQueryProblem: what the service says of it. */
export function DrawPanel({ api, info, session, query, onQueryProblem }) {
  const [form, setForm] = useState({ count: String(info.samples), replacement: info.kind === "tensor", draw: "0" });
  const [state, setState] = useState({ busy: false, problem: null, result: null });
  const [following, setFollowing] = useState(false);
  const sending = useRef(null);
  const set = (field, value) => setForm((last) => ({ ...last, [field]: value }));

  async function draw({ quietly = false } = {}) {
    const body = bodyOf(form, query);
    sending.current?.abort();
    const controller = new AbortController();
    sending.current = controller;
    setState((last) => ({ ...last, busy: !quietly }));
    try {
      const answer = await api.send("POST", path(["sketches", info.name, "samples"]), body, controller);
      if (controller.signal.aborted) return;
      const answers = answer.results ?? [answer];
      onQueryProblem("");
      setState({ busy: false, problem: null, result: { answers, body, whole: answer, at: Date.now() } });
      if (!quietly) announce(`Drawn: ${answers[0].status}, ${answers[0].index.length} coordinates`);
    } catch (problem) {
      if (controller.signal.aborted) return;
      onQueryProblem(saidOf(problem, ...QUERY_POINTERS));
      setState((last) => ({ ...last, busy: false, problem }));
    } finally {
      if (sending.current === controller) sending.current = null;
    }
  }

  useEffect(() => () => sending.current?.abort(), []);
  const { problem, busy, result } = state;
  const stale = result !== null && isBehind(result.answers[0].version, info.version);
  useEffect(() => {
    const due = result === null || stale;
    if (following && due && !sending.current && query.problem === null) draw({ quietly: true });
    // After a failure that may be over by now, each look at the sketch is an occasion.
  }, [following, info.version, result, isPassing(problem) ? info : null]);

  return html`<section class="panel" aria-labelledby="draw-heading">
    <h2 id="draw-heading">Draw</h2>
    <form class="draw-form" onSubmit=${(event) => {
      event.preventDefault();
      draw();
    }}>
      <${Field} label="Count" problem=${saidOf(problem, "/count")} hint=${`${info.samples} by default`}>
        <input class="short" inputmode="numeric" value=${form.count} onInput=${(event) => set("count", event.target.value)} />
      <//>
      <${DrawNumber} info=${info} value=${form.draw} onChange=${(value) => set("draw", value)} problem=${saidOf(problem, "/draw")} />
      <${Replacement} info=${info} value=${form.replacement} onChange=${(value) => set("replacement", value)}
        problem=${saidOf(problem, "/replacement")} />
      <div class="draw-actions">
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${query.problem !== null}>Draw<//>
        <label class="check"><input type="checkbox" checked=${following}
          onChange=${(event) => setFollowing(event.target.checked)} /> again when updates come</label>
      </div>
    </form>
    <${AboutQuery} problem=${problem} />
    <${ProblemNote} problem=${restOf(problem, ...FIELDS)} />
    ${result
      ? html`<${DrawResult} info=${info} session=${session} result=${result}
          stale=${stale} />`
      : !problem && html`<p class="chart-empty draw-empty">Nothing drawn yet. A draw sees every update acknowledged before it.</p>`}
    <${Repeated} info=${info} />
  </section>`;
}

/** Whether the same question may well be answered a little later. */
function isPassing(problem) {
  return problem instanceof Unreachable || [429, 502, 503, 504].includes(problem?.status);
}

/** Whether what was drawn of one version lacks updates of the other: versions end in a position. */
function isBehind(drawn, now) {
  const [one, other] = [drawn, now].map((version) => /^(.*)-(\d+)$/.exec(version));
  if (!one || !other || one[1] !== other[1]) return drawn !== now;
  return BigInt(one[2]) < BigInt(other[2]);
}

function DrawNumber({ info, value, onChange, problem }) {
  const counted = info.method === "sketch";
  const last = Number(info.repetitions) - 1;
  const hint = !counted ? "any number from 0" : last ? `0 to ${last}: one list each` : "0: this sketch holds one list";
  const set = (event) => onChange(event.target.value);
  return html`<${Field} label="Draw number" hint=${hint} problem=${problem}>
    <input class="short" inputmode="numeric" value=${value} onInput=${set} />
  <//>`;
}

function Replacement({ info, value, onChange, problem }) {
  const fixed = info.kind === "tensor";
  return html`<${Field} label="Replacement" problem=${problem}
    hint=${fixed ? "a tensor is drawn from with replacement" : value ? "independent draws" : "no coordinate twice"}>
    <select disabled=${fixed} value=${value ? "with" : "without"} onChange=${(event) => onChange(event.target.value === "with")}>
      <option value="without">without</option>
      <option value="with">with</option>
    </select>
  <//>`;
}

/** What is left empty is left to the service; what is no number is sent for it to refuse. */
function bodyOf(form, query) {
  const body = { replacement: form.replacement, ...query.fields };
  for (const field of ["count", "draw"]) {
    const number = typedNumber(form[field]);
    if (number !== undefined) body[field] = number;
  }
  return body;
}

function Repeated({ info }) {
  return html`<details class="unfold">
    <summary>Why the same draw number gives the same list</summary>
    <p>The randomness was spent when the sketch was made: its seed decides. So the same draw number gives the same
      list until an update comes, and then one that is mostly the same. That makes a draw repeatable, and lists of
      two sketches with the same seed comparable.</p>
    <p>${info.method === "sketch"
      ? `For an independent list take another draw number. This sketch holds ${info.repetitions}; when they are used
        up the service says so (draws_exhausted). Ask for more at creation, as “repetitions”.`
      : "For an independent list take another draw number; the exact method has as many as you like."}</p>
    <p>Promises hold for streams that do not depend on earlier draws. If what you update next depends on what was
      drawn, use a fresh draw number for each round. <a href="/docs">The API’s page</a> has all parameters.</p>
  </details>`;
}
