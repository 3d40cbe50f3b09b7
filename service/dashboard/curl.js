// The same request for a terminal.
import { writeJson } from "./json.js";

/** A command that sends what the page would send. The key is a variable: it is not in the page. */
export function curl(session, method, path, body) {
  const implied = method === (body === undefined ? "GET" : "POST");
  const parts = [`curl ${implied ? "" : `-X ${method} `}${quoted(location.origin + path)}`];
  if (session.key !== null) parts.push('-H "Authorization: Bearer $SKETCHD_KEY"');
  if (body !== undefined) parts.push(`--json ${quoted(writeJson(body))}`);
  return parts.join(" \\\n  ");
}

/** A word for the shell, which reads nothing into it. */
function quoted(text) {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
