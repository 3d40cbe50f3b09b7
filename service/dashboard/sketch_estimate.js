// Estimates of single coordinates, and the norm, each with its standard error.
import { html, useState } from "./vendor/htm-preact.js";
import { path } from "./api.js";
import { indexText } from "./chart_draws.js";
import { PAGE, Pager } from "./chart_frame.js";
import { linear } from "./chart_scales.js";
import { Button, Field, ProblemNote, announce } from "./components.js";
import { count, probability, significant } from "./format.js";
import { typedNumber } from "./json.js";
import { Curl } from "./sketch_curl.js";
import { QUERY_POINTERS, restOf, saidOf } from "./sketch_problems.js";
import { AboutQuery } from "./sketch_query.js";
import { NormName } from "./sketch_result.js";

/** {index, given, problem} of what was pasted: whole numbers, or pairs of them, with every digit. */
export function readCoordinates(text, pairs) {
  const bare = text.replace(/[[\](){}"']/g, " ");
  const words = bare.split(/[\s,;]+/).filter(Boolean);
  const wrong = words.find((word) => !/^\d+$/.test(word));
  if (wrong !== undefined) {
    return { index: [], given: "", problem: `“${wrong.slice(0, 40)}” is no coordinate: they are whole numbers from 0.` };
  }
  const index = words.map((digits) => typedNumber(digits));
  if (!pairs) return { index, given: words.length ? `${count(words.length)} given. ` : "", problem: null };
  if (index.length % 2) {
    return { index: [], given: "", problem: `${count(index.length)} numbers are given: pairs have two each.` };
  }
  const paired = Array.from({ length: index.length / 2 }, (_, at) => index.slice(2 * at, 2 * at + 2));
  return { index: paired, given: paired.length ? `${count(paired.length)} pairs given. ` : "", problem: null };
}

/** A question and its answer: {busy, problem, answer, body, ask(body)}. */
function useQuestion(api, name, question, onQueryProblem) {
  const [state, setState] = useState({ busy: false, problem: null, answer: null, body: null });
  async function ask(body) {
    setState((last) => ({ ...last, busy: true }));
    try {
      const answer = await api.send("POST", path(["sketches", name, question]), body);
      onQueryProblem("");
      setState({ busy: false, problem: null, answer, body });
      announce("Answered");
    } catch (problem) {
      onQueryProblem(saidOf(problem, ...QUERY_POINTERS));
      setState({ busy: false, problem, answer: null, body });
    }
  }
  return { ...state, ask };
}

/** The panel for coordinates. */
export function EstimatePanel({ api, info, session, query, onQueryProblem }) {
  const [text, setText] = useState("");
  const asked = useQuestion(api, info.name, "estimates", onQueryProblem);
  const pairs = info.kind === "tensor";
  const read = readCoordinates(text, pairs);
  const ready = read.problem === null && read.index.length > 0 && query.problem === null;
  const hint = `${read.given}${pairs ? "Pairs: a row of A1, then a row of A2; 7 9, 8 4 or JSON." : "Whole numbers with commas, blanks or lines between, or JSON."}`;
  return html`<section class="panel" aria-labelledby="estimate-heading">
    <h2 id="estimate-heading">Estimate</h2>
    <form onSubmit=${(event) => {
      event.preventDefault();
      if (ready) asked.ask({ index: read.index, ...query.fields });
    }}>
      <${Field} label=${pairs ? "Pairs" : "Coordinates"} hint=${hint} problem=${read.problem ?? saidOfCoordinates(asked)}>
        <textarea rows="2" class="mono" spellcheck="false" autocomplete="off" value=${text}
          placeholder=${pairs ? "7 9, 8 4" : "5, 9, 77"} onInput=${(event) => setText(event.target.value)}></textarea>
      <//>
      <${Button} type="submit" busy=${asked.busy} disabled=${!ready}>Estimate<//>
    </form>
    <${AboutQuery} problem=${asked.problem} />
    <${ProblemNote} problem=${restOf(asked.problem, "/index", ...QUERY_POINTERS)} />
    ${asked.answer && html`
      <${Estimates} answers=${asked.answer.results ?? [asked.answer]} />
      <${Curl} session=${session} name=${info.name} question="estimates" body=${asked.body} />`}
  </section>`;
}

/** The service points to places in the list; people know the coordinates. */
function saidOfCoordinates({ problem, body }) {
  const found = (problem?.errors ?? []).filter(({ pointer }) => /^\/index(\/|$)/.test(pointer));
  return found.map(({ pointer, detail }) => {
    const at = /^\/index\/(\d+)/.exec(pointer)?.[1];
    const index = at === undefined ? undefined : body.index[at];
    return index === undefined ? detail : `${indexText(index, count)}: ${detail}`;
  }).join("; ");
}

function Estimates({ answers }) {
  const [which, setWhich] = useState(0);
  const [start, setStart] = useState(0);
  const answer = answers[Math.min(which, answers.length - 1)];
  const total = answer.index.length;
  const first = start < total ? start : 0;
  const last = Math.min(first + PAGE, total);
  const x = scaleOf(answer);
  return html`
    ${answers.length > 1 && html`<${Field} label="Query" class="inline-field">
      <select value=${String(which)} onChange=${(event) => setWhich(Number(event.target.value))}>
        ${answers.map((_, at) => html`<option value=${String(at)}>${at + 1} of ${answers.length}</option>`)}
      </select><//>`}
    <div class="chart-table" role="region" aria-label="Estimates" tabindex="0">
      <table class="numbers">
        <thead><tr><th scope="col">Coordinate</th><th scope="col">Value</th><th scope="col">± standard error</th>
          <th scope="col" class="error-head">value ± 2 errors</th></tr></thead>
        <tbody>${answer.index.slice(first, last).map((index, at) => {
          const [value, error] = [answer.value[first + at], answer.standard_error[first + at]];
          return html`<tr class=${Math.abs(value) < 2 * error ? "is-faint" : ""}>
            <th scope="row">${indexText(index, count)}</th>
            <td>${significant(value, 6)}</td><td>${significant(error, 2)}</td>
            <td class="error-cell"><${ErrorBar} value=${value} error=${error} x=${x} /></td></tr>`;
        })}</tbody>
      </table>
    </div>
    ${total > PAGE && html`<${Pager} ...${{ first, last, total, setStart }} />`}
    <p class="chart-note">Faint values are within two standard errors of zero. ${answer.exact ? "" : "Arithmetic is not proven exact: they may be wrong altogether."}</p>`;
}

const BAR = 140;

/** One scale for all rows, zero always in it. */
function scaleOf(answer) {
  const ends = answer.value.flatMap((value, at) =>
    Number.isFinite(value) ? [value - 2 * answer.standard_error[at], value + 2 * answer.standard_error[at]] : []);
  const low = ends.reduce((least, one) => Math.min(least, one), 0);
  const high = ends.reduce((most, one) => Math.max(most, one), 0);
  return linear([low, high], [5, BAR - 5]);
}

function ErrorBar({ value, error, x }) {
  if (!Number.isFinite(value)) return null;
  const [low, high] = [x(value - 2 * error), x(value + 2 * error)];
  return html`<svg class="error-bar" viewBox=${`0 0 ${BAR} 18`} width=${BAR} height="18" aria-hidden="true">
    <line class="axis" x1=${x(0)} x2=${x(0)} y1="1" y2="17" />
    <line class="whisker" x1=${low} x2=${high} y1="9" y2="9" />
    <path class="whisker" d=${`M${low} 5.5v7M${high} 5.5v7`} />
    <circle class="point tone-1" cx=${x(value)} cy="9" r="3" />
  </svg>`;
}

/** The panel for the norm. */
export function NormPanel({ api, info, session, query, onQueryProblem }) {
  const own = info.distribution.power;
  const [power, setPower] = useState("");
  const asked = useQuestion(api, info.name, "norm", onQueryProblem);
  const hint = own === undefined ? "of the softmax when empty" : info.method === "sketch" && own !== 2
    ? `${own} or 2; ${own} when empty` : info.method === "sketch" ? "2 is all this sketch answers" : `any above 0; ${own} when empty`;
  return html`<section class="panel" aria-labelledby="norm-heading">
    <h2 id="norm-heading">Norm</h2>
    <form onSubmit=${(event) => {
      event.preventDefault();
      const number = typedNumber(power);
      asked.ask({ ...query.fields, ...(number === undefined ? {} : { power: number }) });
    }}>
      <${Field} label="Power" optional hint=${hint} problem=${saidOf(asked.problem, "/power")}>
        <input class="short" inputmode="decimal" value=${power} placeholder=${own === undefined ? "" : String(own)}
          onInput=${(event) => setPower(event.target.value)} />
      <//>
      <${Button} type="submit" busy=${asked.busy} disabled=${query.problem !== null}>Norm<//>
    </form>
    <${AboutQuery} problem=${asked.problem} />
    <${ProblemNote} problem=${restOf(asked.problem, "/power", ...QUERY_POINTERS)} />
    ${asked.answer && html`
      ${(asked.answer.results ?? [asked.answer]).map((one, at) => html`<${NormValue} answer=${one} softmax=${own === undefined} />`)}
      <${Curl} session=${session} name=${info.name} question="norm" body=${asked.body} />`}
  </section>`;
}

function NormValue({ answer, softmax }) {
  const { norm, standard_error: error, power } = answer;
  const relative = norm && error ? `, ${probability(error / Math.abs(norm))} of it` : "";
  const name = softmax && power === null ? "log Σ exp(y/T)" : html`<${NormName} power=${power} />`;
  return html`<p class="norm">
    <span class="muted">${name}</span>
    <strong>${norm === null ? "beyond float64" : significant(norm, 6)}</strong>
    <span class="muted">${error === null || norm === null ? "" : `± ${significant(error, 2)}${relative}`}</span></p>`;
}
