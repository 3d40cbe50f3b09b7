// The spec of a sketch as a request has it, and its plan: sizes, seed, and the dense size.
import { html, useMemo } from "./vendor/htm-preact.js";
import { SizeChart } from "./chart_size.js";
import { ProblemNote, Skeleton } from "./components.js";
import { count, probability, significant } from "./format.js";
import { reasonOf } from "./plan_panel.js";
import { usePolled } from "./polling.js";
import { AsJson } from "./sketch_curl.js";

const NOT_OF_THE_SPEC = new Set([
  "name", "levels", "second_levels", "ttl_seconds", "memory_bytes", "updates", "underflowed", "version",
  "exact", "sealed", "created_at", "expires_at",
]);

/** The part of an info that PUT and POST /v1/plan take; numbers over 2^53 as BigInts again. */
export function specOf(info) {
  const spec = Object.fromEntries(
    Object.entries(info).filter(([field, value]) => !NOT_OF_THE_SPEC.has(field) && value !== null),
  );
  spec.shape = Object.fromEntries(Object.entries(info.shape).map(([side, size]) => [side, whole(size)]));
  spec.seed = whole(info.seed);
  return info.ttl_seconds === null ? spec : { ...spec, ttl_seconds: info.ttl_seconds };
}

function whole(digits) {
  return typeof digits === "string" ? BigInt(digits) : digits;
}

/** The size beside the dense one, what follows from the spec, and the spec to take along. */
export function SpecPanel({ api, info }) {
  const spec = useMemo(() => specOf(info), [info.name, info.created_at, info.ttl_seconds]);
  const planned = usePolled(
    ({ signal }) => api.send("POST", "/v1/plan", spec, { signal }),
    [api, info.name, info.created_at],
    { seconds: 600 },
  );
  return html`<section class="panel" aria-labelledby="size-heading">
    <h2 id="size-heading">Size and spec</h2>
    ${planned.data
      ? html`<${SizeChart} plan=${planned.data} /><${Advice} plan=${planned.data} />`
      : planned.problem
        ? html`<${ProblemNote} problem=${planned.problem} retry=${planned.retry} />`
        : html`<${Skeleton} lines=${3} />`}
    <dl class="sketch-facts is-dense">
      ${rows(info, planned.data).map(
        ([term, value, why]) => html`<div key=${term}><dt title=${why}>${term}</dt><dd>${value}</dd></div>`,
      )}
    </dl>
    <${AsJson} summary="The spec as JSON" label="Copy spec" value=${spec} indent=${2} />
  </section>`;
}

/** What `auto` would have taken, where it is something else. */
function Advice({ plan: { method, advice } }) {
  if (!advice || advice.method === method) return null;
  return html`<p class="size-words">The method auto would take “${advice.method}”: ${reasonOf(advice)}.</p>`;
}

function rows(info, plan) {
  const known = [
    ["samples", count(info.samples), "draws that one list serves"],
    ["repetitions", count(info.repetitions), "independent lists: draw numbers from 0"],
    ["seed", String(info.seed), "sketches merge only with the same seed"],
    ["magnitude", significant(info.magnitude, 4), "the largest value expected"],
    ["quantum", info.quantum_bits === null ? null : html`2<sup>−${info.quantum_bits}</sup>`, "increments are rounded to multiples of it"],
    ["width", info.width, "buckets of each row of the tables"],
    ["upper width", info.upper_width, "the same of the levels above"],
    ["estimate width", info.estimate_width, "of the table for estimates"],
    ["depth", info.depth, "rows of each table"],
    ["levels", info.levels, "tables on the way down to a coordinate"],
    ["width of A2", info.second_width, "buckets of the tables of A2"],
    ["upper width of A2", info.second_upper_width, "the same of the levels above"],
    ["levels of A2", info.second_levels, "tables on the way down to a row of A2"],
    ["largest value", plan?.largest_value && significant(plan.largest_value, 4), "up to here every cell is sure to fit"],
    ["error of an estimate", share(plan?.expected_errors?.estimate, "of ‖y‖₂"), "its standard deviation"],
    ["error of the norm", share(plan?.expected_errors?.norm, ""), "its relative standard deviation"],
    ["rounded to nothing", info.underflowed ? count(info.underflowed) : null, "increments smaller than the quantum"],
  ];
  return known.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value, why]) => [term, typeof value === "number" ? count(value) : value, why]);
}

function share(value, of) {
  return value === undefined || value === null ? null : `${probability(value)} ${of}`.trim();
}
