// What a spec would become, beside the form it is typed into.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { ApiProblem } from "./api.js";
import { SizeChart } from "./chart_size.js";
import { Loading, Note, ProblemNote } from "./components.js";
import { bytes, count, law, probability, significant } from "./format.js";
import { writeJson } from "./json.js";
import { useDebounced } from "./polling.js";

/**
 * The plan of a spec, asked for once typing pauses. {plan, problem, waiting}: the last plan stays
 * while a new one is awaited; a question that is outdated is cancelled.
 */
export function usePlan(api, spec) {
  const [answer, setAnswer] = useState({ plan: null, problem: null, of: null });
  const text = useDebounced(spec === null ? "" : writeJson(spec), 250);
  useEffect(() => {
    if (text === "") {
      setAnswer({ plan: null, problem: null, of: text });
      return undefined;
    }
    const controller = new AbortController();
    api
      .send("POST", "/v1/plan", text, { signal: controller.signal })
      .then((plan) => setAnswer({ plan, problem: null, of: text }))
      .catch((problem) => {
        if (!controller.signal.aborted) setAnswer((last) => ({ ...last, problem, of: text }));
      });
    return () => controller.abort();
  }, [api, text]);
  return { ...answer, waiting: answer.of !== (spec === null ? "" : writeJson(spec)) };
}

/** ready: whether the shape is complete. */
export function PlanPanel({ plan, problem, waiting, ready, chosen }) {
  const refused = problem instanceof ApiProblem && problem.status === 422;
  return html`<section class="plan" aria-labelledby="plan-heading" aria-busy=${waiting}>
    <h2 id="plan-heading">What it would be</h2>
    ${!ready
      ? html`<p class="muted">
          Say how large it is: memory, method and errors show here while you type. Nothing is made before you say so.
        </p>`
      : html`
          ${refused && html`<p class="field-problem" role="status">The fields marked in red cannot be planned${
            plan === null ? "" : "; below is the last plan that could"}.</p>`}
          ${problem && !refused && html`<${ProblemNote} problem=${problem} />`}
          ${plan === null && problem === null && html`<${Loading} label="Planning" />`}
          ${plan !== null && html`<div class=${waiting || problem ? "is-stale" : ""}><${Plan} plan=${plan} chosen=${chosen} /></div>`}
        `}
  </section>`;
}

function Plan({ plan, chosen }) {
  const { advice, expected_errors: errors } = plan;
  const against = chosen !== "auto" && advice.method !== chosen;
  return html`
    <${SizeChart} plan=${plan} />
    ${against && html`<${Note} tone="warn"><strong>The ${advice.method} method would be the better one:</strong> ${reasonOf(advice)}.<//>`}
    <dl class="plan-facts">
      <div><dt>Method</dt><dd>${plan.method}${chosen === "auto" && html`<span class="why">${reasonOf(advice)}</span>`}</dd></div>
      <div><dt>Draws</dt><dd>${count(plan.samples)} by ${law(plan.spec.distribution)}${
        plan.repetitions > 1 && html`<span class="why">${count(plan.repetitions)} independent lists</span>`}</dd></div>
      ${errors.estimate !== undefined && html`<div>
        <dt>Error of an estimate</dt><dd>± ${probability(errors.estimate)} of ‖y‖₂<span class="why">one standard deviation</span></dd>
      </div>`}
      ${errors.norm !== undefined && html`<div><dt>Error of the norm</dt><dd>± ${probability(errors.norm)}</dd></div>`}
      ${plan.method === "exact" && html`<div><dt>Errors</dt><dd>none: the exact method holds everything</dd></div>`}
      <${Sizes} plan=${plan} />
      <div><dt>Values</dt><dd>up to ${most(plan.largest_value)}<span class="why">in steps of 2<sup>−${plan.quantum_bits}</sup></span></dd></div>
    </dl>`;
}

/** The largest value; beyond a billion its digits say nothing. */
function most(value) {
  return value < 1e9 ? significant(value, 4) : Number(value).toExponential(2).replace("e+", "e");
}

/** The service's reason, with its byte counts as people read them. */
export function reasonOf({ reason }) {
  return reason.replace(/\b\d{4,}( bytes)?\b/g, (digits) => bytes(digits.replace(" bytes", "")));
}

function Sizes({ plan }) {
  if (plan.width === undefined) return null;
  const widths = [plan.width, plan.upper_width, plan.estimate_width].filter((one) => one !== undefined && one !== null);
  const second = [plan.second_width, plan.second_upper_width].filter((one) => one !== undefined && one !== null);
  return html`
    <div><dt>Tables</dt><dd>
      ${count(plan.depth)} rows, ${plan.levels} ${plan.levels === 1 ? "level" : "levels"}
      <span class="why">width ${widths.map(count).join(" / ")}${second.length > 0 && html`; of A2 ${second.map(count).join(" / ")}, ${plan.second_levels} levels`}</span>
    </dd></div>`;
}

/** What a plan weighs, in words for who listens. */
export function planInWords(plan) {
  return `${plan.method}, ${bytes(plan.memory_bytes)}; dense ${bytes(plan.exact_memory_bytes)}`;
}
