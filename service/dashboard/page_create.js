// A new sketch, with what it would be shown while one types.
import { html } from "./vendor/htm-preact.js";
import { PageHeading } from "./components.js";

export function CreatePage() {
  return html`<${PageHeading} title="New sketch" />`;
}
