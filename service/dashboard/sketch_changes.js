// Sealing an operand and deleting the sketch: both ask first.
import { html, useState } from "./vendor/htm-preact.js";
import { newIdempotencyKey, path } from "./api.js";
import { ConfirmDialog, Field, announce } from "./components.js";

const OPERANDS = { vector: ["y"], matrix: ["A", "x"], tensor: ["A1", "A2", "X"] };

/** The operands that updates can still change. */
export function openOperands(info) {
  return OPERANDS[info.kind].filter((operand) => !info.sealed.includes(operand));
}

/** onDone: called after an operand was sealed. */
export function SealDialog({ api, info, onDone, onClose }) {
  const open = openOperands(info);
  const [operand, setOperand] = useState(open[0]);
  const [key] = useState(newIdempotencyKey);
  async function seal() {
    // One key an operand: a retry after a lost answer is the same request, another choice is not.
    await api.send("POST", path(["sketches", info.name, "seal"]), { operand }, { key: `${key}-${operand}` });
    announce(`${operand} is sealed`);
    onDone();
  }
  return html`<${ConfirmDialog} title="Seal an operand" confirm=${`Seal ${operand}`} onConfirm=${seal} onClose=${onClose}>
    <p>No later update can change a sealed operand: those are refused with 409. Draws and estimates go on. This cannot be undone.</p>
    <${Field} label="Operand">
      <select value=${operand} onChange=${(event) => setOperand(event.target.value)}>
        ${open.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
      </select>
    <//>
  <//>`;
}

/** onDone: called after the sketch is gone. */
export function DeleteDialog({ api, info, onDone, onClose }) {
  const [typed, setTyped] = useState("");
  async function remove() {
    await api.send("DELETE", path(["sketches", info.name]));
    announce(`${info.name} is deleted`);
    onDone();
  }
  return html`<${ConfirmDialog} title="Delete this sketch" confirm="Delete it" ready=${typed === info.name}
    onConfirm=${remove} onClose=${onClose}>
    <p>The sketch and all its updates are forgotten at once, for everybody. This cannot be undone.</p>
    <${Field} label=${html`Type <code class="sketch-name">${info.name}</code> to delete it`}>
      <input class="mono" autocomplete="off" autocapitalize="off" spellcheck="false" value=${typed}
        onInput=${(event) => setTyped(event.target.value)} />
    <//>
  <//>`;
}
