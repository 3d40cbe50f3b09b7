// All sketches of the tenant.
import { html } from "./vendor/htm-preact.js";
import { PageHeading } from "./components.js";

export function ListPage() {
  return html`<${PageHeading} title="Sketches" />`;
}
