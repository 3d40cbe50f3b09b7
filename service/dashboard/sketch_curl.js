// What one may take along: the same question for a terminal, and JSON. Folded away until wanted.
import { html, useMemo, useState } from "./vendor/htm-preact.js";
import { path } from "./api.js";
import { Copyable } from "./components.js";
import { curl } from "./curl.js";
import { writeJson } from "./json.js";

const SHOWN = 2000;

function beginning(text) {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** The command, shortened where a query makes it long; what is copied is whole. */
export function Curl({ session, name, question, body }) {
  const command = curl(session, "POST", path(["sketches", name, question]), body);
  return html`<details class="unfold"><summary>As curl</summary>
    <${Copyable} text=${command} label="Copy command">${beginning(command)}<//>
    ${session.key !== null && html`<p>With your key in the variable <code>SKETCHD_KEY</code>.</p>`}
  </details>`;
}

/** A value as JSON, written out only when it is asked for: it may be long. */
export function AsJson({ summary, label, value, indent = 0 }) {
  const [open, setOpen] = useState(false);
  const json = useMemo(() => (open ? writeJson(value, indent) : ""), [open, value, indent]);
  return html`<details class="unfold" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${summary}</summary>
    ${open && html`<${Copyable} text=${json} label=${label}>${beginning(json)}<//>`}
  </details>`;
}
