// The state against the dense operands: two bars of honest length, and the ratio in words.

import { html } from "./vendor/htm-preact.js";
import { Figure } from "./chart_frame.js";
import { bytes, factor } from "./format.js";

/**
 * plan: an answer of /v1/plan. The bars are linear; one that would be thinner than a hair is drawn
 * as a hair, and the words below say how much smaller it really is.
 */
export function SizeChart({ plan, title = "Size against the dense operands" }) {
  const { memory_bytes: state, exact_memory_bytes: dense, limit_bytes: limit, method } = plan;
  const rows = [
    { label: method === "exact" ? "This one, exact" : "The sketch", value: state, tone: 1 },
    { label: "Dense operands", value: dense, tone: 3 },
  ];
  const most = Math.max(state, dense, 1);
  return html`
    <${Figure} title=${title} summary=${`${rows.map((row) => `${row.label} ${bytes(row.value)}`).join(", ")}. ${ratio(plan)}`}
      table=${() => ({ columns: ["", "Size", "Bytes"], rows: rows.map((row) => [row.label, bytes(row.value), String(row.value)]) })}>
      <div class="size-bars">
        ${rows.map((row) => html`<div class="size-row" key=${row.label}>
          <span class="size-label">${row.label}</span>
          <span class="size-track"><span class=${`size-bar tone-${row.tone}`}
            style=${{ width: `max(2px, ${(100 * row.value) / most}%)` }}></span></span>
          <span class="size-value">${bytes(row.value)}</span>
        </div>`)}
      </div>
      <p class="size-words">${ratio(plan)}${limit !== undefined && !plan.fits
        ? html` <strong class="is-bad">Over the ${bytes(limit)} that this service allows.</strong>` : null}</p>
    <//>`;
}

/** The ratio of a plan's two sizes in words. */
export function ratio({ memory_bytes: state, exact_memory_bytes: dense, method }) {
  if (!state || !dense) return "";
  if (method === "exact") return "The exact method holds the dense operands themselves: answers have no sampling error.";
  const times = dense / state;
  if (times >= 1.05) return `The sketch is ${factor(times)} times smaller than the dense operands.`;
  if (times > 0.95) return "The sketch is as large as the dense operands.";
  return `The sketch is ${factor(1 / times)} times larger than the dense operands: the exact method would take less.`;
}
