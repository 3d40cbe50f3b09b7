// The same question for a terminal, folded away until somebody wants it.
import { html } from "./vendor/htm-preact.js";
import { path } from "./api.js";
import { Copyable } from "./components.js";
import { curl } from "./curl.js";

const SHOWN = 600;

/** The command, shortened where a query makes it long; what is copied is whole. */
export function Curl({ session, name, question, body }) {
  const command = curl(session, "POST", path(["sketches", name, question]), body);
  const shown = command.length > SHOWN ? `${command.slice(0, SHOWN)}…` : command;
  return html`<details class="unfold"><summary>As curl</summary>
    <${Copyable} text=${command} label="Copy command">${shown}<//>
    ${session.key !== null && html`<p>With your key in the variable <code>SKETCHD_KEY</code>.</p>`}
  </details>`;
}
