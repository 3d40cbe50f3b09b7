// The same request for a shell. The key is never in it: it stands in a variable there.
import { html } from "./vendor/htm-preact.js";
import { Copyable } from "./components.js";
import { writeJson } from "./json.js";

/** A curl command for POST /v1/sketches/{name}/{question}. keyed: whether the service asks for keys. */
export function curlOf(name, question, body, keyed) {
  const url = `${window.location.origin}/v1/sketches/${encodeURIComponent(name)}/${question}`;
  const header = keyed ? ` \\\n  -H "Authorization: Bearer $SKETCHD_KEY"` : "";
  return `curl ${quoted(url)}${header} \\\n  -H 'Content-Type: application/json' -d ${quoted(writeJson(body))}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const SHOWN = 600;

/** The command, shortened where a query makes it long; what is copied is whole. */
export function Curl({ name, question, body, keyed }) {
  const command = curlOf(name, question, body, keyed);
  const shown = command.length > SHOWN ? `${command.slice(0, SHOWN)}…` : command;
  return html`<details class="more"><summary>As curl</summary>
    <${Copyable} text=${command} label="Copy command">${shown}<//></details>`;
}
