// A new sketch, with what it would be shown while one types.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem, path } from "./api.js";
import { Button, ButtonLink, Choice, Copyable, Note, PageHeading, ProblemNote, announce } from "./components.js";
import { DrawFields, MoreFields, WhatFields } from "./create_fields.js";
import { curl } from "./curl.js";
import { writeJson } from "./json.js";
import { PlanPanel, planInWords, usePlan } from "./plan_panel.js";
import { sketchAddress } from "./router.js";
import { BLANK, NAME, SHAPES, fixedOf, missingSizes, specOf } from "./spec_fields.js";

/** draft: what was typed before, kept by the app until a sketch is made of it. */
export function CreatePage({ api, session, navigate, draft }) {
  const [fields, setFields] = useState({ ...BLANK, ...draft.current });
  const [asked, setAsked] = useState(false);
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState(null);
  const form = useRef(null);
  useEffect(() => {
    draft.current = fields;
  }, [fields]);
  const spec = specOf(fields);
  const planned = usePlan(api, spec);
  useSpoken(planned);

  const mayCreate = session.may("write");
  const found = problems(fields, asked, planned.problem, refusal);
  const shared = {
    fields,
    set: (changes) => {
      setRefusal(null);
      setFields((last) => ({ ...last, ...changes }));
    },
    problemAt: (pointer, alone = false) => found.at(pointer, alone),
    planned: (name) => plannedValue(planned.plan, name),
  };

  async function create(event) {
    event.preventDefault();
    setAsked(true);
    if (!NAME.test(fields.name) || spec === null || fixedOf(fields).problem) {
      toFirstProblem(form.current);
      return;
    }
    setBusy(true);
    setRefusal(null);
    try {
      await api.send("PUT", path(["sketches", fields.name]), spec);
      draft.current = {};
      announce(`${fields.name} is made`);
      navigate(sketchAddress(fields.name));
    } catch (error) {
      setRefusal(error);
      setBusy(false);
      toFirstProblem(form.current);
    }
  }

  return html`
    <${PageHeading} title="New sketch" />
    ${!mayCreate &&
    html`<${Note}>
      This key has the role <code>${session.role}</code>: you can plan a sketch here, and copy the request. To make it takes a key with the role <code>write</code>.
    <//>`}
    <div class="create">
      <form class="create-form" id="create-form" ref=${form} onSubmit=${create} novalidate autocomplete="off">
        <${WhatFields} form=${shared} />
        <${DrawFields} form=${shared} />
        <${MoreFields} form=${shared} />
        <${ProblemNote} problem=${found.rest} title=${found.restTitle} />
      </form>
      ${mayCreate &&
      html`<div class="create-actions">
        <${Button} kind="primary" type="submit" form="create-form" busy=${busy}>${busy ? "Creating" : "Create sketch"}<//>
        <${ButtonLink} href="#/">Cancel<//>
      </div>`}
      <div class="create-beside">
        <${PlanPanel} ...${planned} ready=${spec !== null} chosen=${fields.method} />
        ${spec !== null && html`<${AsRequest} session=${session} name=${fields.name} spec=${spec} />`}
      </div>
    </div>
  `;
}

/** The plan in words, for who listens, once it has come. */
function useSpoken({ plan, problem }) {
  useEffect(() => {
    if (plan !== null && problem === null) announce(`Plan: ${planInWords(plan)}`);
  }, [plan, problem]);
}

/** What the plan decided for a field that is empty. */
function plannedValue(plan, name) {
  if (plan === null || name === "seed") return "";
  const value = plan[name] ?? plan.spec[name];
  return value === undefined || value === null ? "" : String(value);
}

/** Everything that is wrong, by the field it belongs to; `rest` belongs to none. */
function problems(fields, asked, planProblem, refusal) {
  const local = {};
  if (fields.name !== "" ? !NAME.test(fields.name) : asked) {
    local["/name"] = fields.name === ""
      ? "Give it a name."
      : "A letter or digit, then up to 127 letters, digits, . _ : or -";
  }
  if (asked) {
    for (const name of missingSizes(fields)) local[`/shape/${name}`] = "How many?";
  }
  const sources = [planProblem, refusal].filter((one) => one instanceof ApiProblem);
  if (refusal instanceof ApiProblem && refusal.code === "spec_differs") {
    local["/name"] = "There is a sketch of this name, with another spec.";
  }
  const shown = new Set(SHAPES[fields.kind].map(([name]) => `/shape/${name}`));
  const at = (pointer, alone) => {
    if (local[pointer]) return local[pointer];
    for (const source of sources) {
      const found = alone
        ? source.errors.filter((one) => one.pointer === pointer).map((one) => one.detail).join("; ")
        : source.at(pointer);
      if (found !== "") return found;
    }
    return "";
  };
  return { at, ...left(planProblem, refusal, local, shown) };
}

/** The problem that no field shows: of the creation, or a plan's that points at none. */
function left(planProblem, refusal, local, shown) {
  const byField = (one) =>
    one instanceof ApiProblem &&
    ((one.code === "spec_differs" && local["/name"]) ||
      (one.errors.length > 0 &&
        one.errors.every(({ pointer }) => pointer !== "" && (!pointer.startsWith("/shape") || [...shown].some((name) => pointer.startsWith(name))))));
  if (refusal !== null && !byField(refusal)) return { rest: refusal };
  const planned = planProblem instanceof ApiProblem && planProblem.status === 422 && !byField(planProblem);
  return planned ? { rest: planProblem, restTitle: "This cannot be planned" } : { rest: null };
}

/** The focus goes to the first field that is wrong, once it is marked. */
function toFirstProblem(form) {
  requestAnimationFrame(() => setTimeout(() => form.querySelector('[aria-invalid="true"]')?.focus()));
}

function AsRequest({ session, name, spec }) {
  const [as, setAs] = useState("curl");
  const text = as === "curl"
    ? curl(session, "PUT", path(["sketches", name || "NAME"]), spec)
    : writeJson(spec, 2);
  return html`<section class="as-request" aria-labelledby="request-heading">
    <div class="as-request-head">
      <h2 id="request-heading">As a request</h2>
      <${Choice} label="Shown as" hideLabel value=${as} onChange=${setAs} options=${[{ value: "curl", label: "curl" }, { value: "json", label: "JSON" }]} />
    </div>
    <${Copyable} text=${text} />
    ${as === "curl" && session.key !== null && html`<p class="hint">With your key in the variable <code>SKETCHD_KEY</code>.</p>`}
  </section>`;
}
