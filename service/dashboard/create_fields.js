// The controls of the create form, in their groups.
import { html, useState } from "./vendor/htm-preact.js";
import { Choice, Field } from "./components.js";
import { SHAPES, fixedOf, sizesOf } from "./spec_fields.js";

const KINDS = {
  vector: "One long vector y; its coordinates are drawn.",
  matrix: "Rows of A stream in; with a query x, coordinates of y = A x are drawn.",
  tensor: "Rows of A1 and A2 stream in; with an X, pairs of rows are drawn by the entries of A1 X A2ᵀ.",
};
const METHODS = [
  { value: "auto", label: "Auto", hint: "whichever takes less memory" },
  { value: "sketch", label: "Sketch", hint: "small, with known errors" },
  { value: "exact", label: "Exact", hint: "the dense operands, without errors" },
];
const UNITS = [["1", "seconds"], ["60", "minutes"], ["3600", "hours"], ["86400", "days"]];
const ADVANCED = {
  seed: ["Seed", "Drawn at random when empty. Sketches merge only with the same."],
  magnitude: ["Magnitude", "Largest |y| expected; 1,024 when empty."],
  quantum_bits: ["Quantum bits", "Increments are rounded to 2^−bits."],
  width: ["Width", ""],
  upper_width: ["Upper width", ""],
  estimate_width: ["Estimate width", ""],
  depth: ["Depth", "Rows of a table; odd."],
  second_width: ["Width of A2", ""],
  second_upper_width: ["Upper width of A2", ""],
};

/** A text control tied to one field of the form. */
function Typed({ form, name, pointer, ...rest }) {
  const { label, hint, optional, class: names, ...control } = rest;
  return html`<${Field} label=${label} hint=${hint} optional=${optional} class=${names} problem=${form.problemAt(pointer ?? `/${name}`)}>
    <input
      type="text"
      autocomplete="off"
      spellcheck=${false}
      inputmode="decimal"
      ...${control}
      value=${form.fields[name]}
      onInput=${(event) => form.set({ [name]: event.target.value })}
    />
  <//>`;
}

export function WhatFields({ form }) {
  const { fields, set, problemAt } = form;
  return html`<section class="form-section">
    <${Typed} form=${form} name="name" label="Name" inputmode="text" class="is-wide" maxlength="128"
      placeholder="clicks.by-page" hint="Letters, digits and . _ : -" />
    <${Choice} label="Kind" value=${fields.kind} onChange=${(kind) => set({ kind })} hint=${KINDS[fields.kind]} problem=${problemAt("/kind")}
      options=${Object.keys(KINDS).map((kind) => ({ value: kind, label: kind[0].toUpperCase() + kind.slice(1) }))} />
    <div class=${`field-row is-${fields.kind}`}>
      ${SHAPES[fields.kind].map(
        ([name, label, example]) =>
          html`<${Typed} key=${name} form=${form} name=${name} pointer=${`/shape/${name}`} label=${label} placeholder=${example} />`,
      )}
    </div>
  </section>`;
}

export function DrawFields({ form }) {
  const { fields, set, problemAt } = form;
  const softmax = fields.law === "softmax";
  const laws = [
    { value: "power", label: "Power |y|ᵖ" },
    { value: "softmax", label: "Softmax", disabled: fields.method === "sketch", hint: "with the exact method only" },
  ];
  return html`<section class="form-section" aria-label="Draws">
    <${Choice} label="Drawn in proportion to" options=${laws} value=${fields.law} onChange=${(law) => set({ law })}
      problem=${problemAt("/distribution", true)}
      hint=${softmax ? "exp(y / T); with the exact method only." : "A sketch takes p from 1 to 2, the exact method any p above 0."} />
    <div class="field-row">
      ${softmax
        ? html`<${Typed} key="temperature" form=${form} name="temperature" pointer="/distribution/softmax" label="Temperature T" placeholder="1" />`
        : html`<${Typed} key="power" form=${form} name="power" pointer="/distribution/power" label="Power p" placeholder="2" />`}
      <${Typed} form=${form} name="samples" label="Samples" placeholder="16" hint="Draws one list serves." />
      <${Typed} form=${form} name="repetitions" label="Repetitions" placeholder="1" hint="Independent lists." />
    </div>
    <${Choice} label="Method" options=${METHODS} value=${fields.method} onChange=${(method) => set({ method })} problem=${problemAt("/method")}
      hint="Auto takes whichever of the two needs less memory." />
  </section>`;
}

export function MoreFields({ form }) {
  const { fields, set, problemAt } = form;
  const fixed = fixedOf(fields);
  const names = ["seed", "magnitude", "quantum_bits", ...sizesOf(fields)];
  return html`
    <section class="form-section" aria-label="Lifetime">
      <div class="field-row">
        <${Typed} form=${form} name="ttl" pointer="/ttl_seconds" label="Expires after" placeholder="never" hint="Counted from the last update." />
        <${Field} label="Unit">
          <select value=${fields.ttlUnit} onChange=${(event) => set({ ttlUnit: event.target.value })}>
            ${UNITS.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === fields.ttlUnit}>${label}</option>`)}
          </select>
        <//>
      </div>
    </section>
    ${fields.kind !== "vector" &&
    html`<${More} title=${`Fixed query ${fixed.name}`} opened=${fixed.problem || problemAt(`/${fixed.name}`)}>
      <${Field} label=${fixed.name} optional problem=${fixed.problem || problemAt(`/${fixed.name}`)}
        hint=${fixed.note || (fields.kind === "matrix" ? "d numbers: JSON, or apart by commas. Without it each question brings its own, or it is streamed." : "d1 rows of d2 numbers: JSON, or a row a line. Without it each question brings its own, or it is streamed.")}>
        <textarea class="mono" rows="4" spellcheck=${false} autocomplete="off" value=${fields.fixed} onInput=${(event) => set({ fixed: event.target.value })}></textarea>
      <//>
    <//>`}
    <${More} title="Advanced" opened=${names.some((name) => problemAt(`/${name}`))}>
      <div class="field-row">
        ${names.map((name) => {
          const [label, hint] = ADVANCED[name];
          return html`<${Typed} key=${name} form=${form} name=${name} label=${label} hint=${hint} placeholder=${form.planned(name)} />`;
        })}
      </div>
    <//>`;
}

/** A part that is closed until it is wanted, or something in it is wrong. */
function More({ title, opened, children }) {
  const [open, setOpen] = useState(false);
  return html`<details class="form-more" open=${open || Boolean(opened)} onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${title}</summary>
    ${children}
  </details>`;
}
