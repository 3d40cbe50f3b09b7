// One sketch: what it holds, how it fares, and questions to it.
import { html } from "./vendor/htm-preact.js";
import { PageHeading } from "./components.js";

export function SketchPage({ name }) {
  return html`<${PageHeading} title=${name} />`;
}
