// One sketch: what it holds, how it fares, and questions to it.
import { html, useState } from "./vendor/htm-preact.js";
import { Unreachable } from "./api.js";
import { ButtonLink, Empty, Loading, PageHeading, ProblemNote } from "./components.js";
import { DeleteDialog, SealDialog, openOperands } from "./sketch_changes.js";
import { DrawPanel } from "./sketch_draw.js";
import { EstimatePanel, NormPanel } from "./sketch_estimate.js";
import { SketchHeader } from "./sketch_header.js";
import { useLive } from "./sketch_live.js";
import { NumbersPanel } from "./sketch_numbers.js";
import { QueryPanel, neededQuery, readQuery } from "./sketch_query.js";
import { SpecPanel } from "./sketch_spec.js";

/** session: the answer of whoami and may(role). navigate: goes to another page. */
export function SketchPage({ name, api, session, navigate }) {
  const live = useLive(api, name);
  const [dialog, setDialog] = useState(null);
  if (live.gone) return html`<${Gone} name=${name} how=${live.gone} />`;
  if (live.info === null) {
    return html`<${PageHeading} title=${name} />
      ${live.problem
        ? html`<${ProblemNote} problem=${live.problem} retry=${live.retry} />`
        : html`<${Loading} label="Looking at the sketch" />`}`;
  }
  const { info } = live;
  const may = session.may("write");
  const close = () => setDialog(null);
  return html`<div class="sketch-page">
    <${SketchHeader} info=${info}
      onSeal=${may && openOperands(info).length ? () => setDialog("seal") : null}
      onDelete=${may ? () => setDialog("delete") : null} />
    ${!(live.problem instanceof Unreachable) // the shell says that
      && html`<${ProblemNote} problem=${live.problem} retry=${live.retry} />`}
    <${NumbersPanel} live=${live} />
    <${Questions} key=${`${info.name} ${info.created_at}`} api=${api} info=${info} session=${session} />
    <${SpecPanel} api=${api} info=${info} />
    ${dialog === "seal" && html`<${SealDialog} api=${api} info=${info} onDone=${live.retry} onClose=${close} />`}
    ${dialog === "delete" && html`<${DeleteDialog} api=${api} info=${info} onDone=${() => navigate("#/")} onClose=${close} />`}
  </div>`;
}

/** What can be asked; the query of a matrix or tensor is shared by all. */
function Questions({ api, info, session }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const needed = neededQuery(info);
  const query = readQuery(needed, text);
  const asking = { api, info, session, query, onQueryProblem: setProblem };
  return html`
    ${info.kind !== "vector" && html`<section class="panel" aria-labelledby="query-heading">
      <h2 id="query-heading">Query</h2>
      <${QueryPanel} info=${info} needed=${needed} text=${text} read=${query} problem=${problem}
        onText=${(changed) => {
          setText(changed);
          setProblem("");
        }} />
    </section>`}
    <${DrawPanel} ...${asking} />
    <div class="panel-pair"><${EstimatePanel} ...${asking} /><${NormPanel} ...${asking} /></div>`;
}

const GONE = {
  missing: ["No such sketch", "It was never made, was deleted, or has expired."],
  deleted: ["This sketch was deleted", "Somebody deleted it while this page was open. Its updates are forgotten."],
  expired: ["This sketch has expired", "No update came within its time to live, so the service forgot it."],
};

function Gone({ name, how }) {
  const [title, text] = GONE[how];
  return html`<${PageHeading} title=${name} />
    <${Empty} title=${title}><p>${text}</p>
      <p class="empty-actions"><${ButtonLink} href="#/">All sketches<//> <${ButtonLink} kind="primary" href="#/new">Create one<//></p>
    <//>`;
}
