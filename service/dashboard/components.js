// What pages are made of. Everything is drawn through htm and preact, so that a name or a
// problem's text is always text.
import { h, html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem, Unreachable } from "./api.js";

let ids = 0;

/** An id that no other element of the page has. */
export function useId(prefix = "id") {
  const own = useRef(null);
  if (own.current === null) {
    ids += 1;
    own.current = `${prefix}-${ids}`;
  }
  return own.current;
}

/** Says something to who listens instead of looking. The shell has the place for it. */
export function announce(text) {
  const place = document.getElementById("announcements");
  if (place !== null) place.textContent = text;
}

let arrivedBefore = false;

/** The heading of a page. It gets the focus when one comes from another page, and names the tab. */
export function PageHeading({ title, children, actions }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} · sketchd`;
  }, [title]);
  useEffect(() => {
    if (arrivedBefore) {
      heading.current.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
    arrivedBefore = true;
  }, []);
  return html`<div class="page-heading">
    <h1 ref=${heading} tabindex="-1" aria-label=${children ? title : undefined}>${children ?? title}</h1>
    ${actions && html`<div class="page-actions">${actions}</div>`}
  </div>`;
}

/** kind: primary, plain or danger. busy: it works, and cannot be pressed again. */
export function Button({ kind = "plain", busy = false, small = false, children, class: more, ...rest }) {
  const names = ["button", `button-${kind}`, small && "button-small", busy && "is-busy", more];
  return html`<button
    type="button"
    ...${rest}
    class=${names.filter(Boolean).join(" ")}
    disabled=${rest.disabled || busy}
    aria-busy=${busy ? "true" : undefined}
  >
    ${children}
  </button>`;
}

/** A link that looks like a button. */
export function ButtonLink({ kind = "plain", small = false, children, ...rest }) {
  const names = ["button", `button-${kind}`, small && "button-small"];
  return html`<a ...${rest} class=${names.filter(Boolean).join(" ")}>${children}</a>`;
}

/**
 * One control with its label, and a hint or what is wrong with it. The control is the only child,
 * an element; it is tied to the others for who cannot see them.
 */
export function Field({ label, hint, problem, children, optional = false, class: names = "" }) {
  const id = useId("field");
  const child = Array.isArray(children) ? children.find(Boolean) : children;
  const described = problem ? `${id}-problem` : hint ? `${id}-hint` : undefined;
  const control = h(child.type, {
    ...child.props,
    ref: child.ref,
    id,
    "aria-describedby": described,
    "aria-invalid": problem ? "true" : undefined,
  });
  return html`<div class=${`field ${problem ? "has-problem" : ""} ${names}`}>
    <label for=${id}>${label}${optional && html` <span class="muted">optional</span>`}</label>
    ${control}
    ${problem && html`<p class="field-problem" id=${`${id}-problem`}>${problem}</p>`}
    ${hint && !problem && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/** A few choices of which one holds. options: [{value, label, disabled, hint}]. */
export function Choice({ label, options, value, onChange, problem, hint, hideLabel = false }) {
  const name = useId("choice");
  return html`<fieldset class="field choice-field">
    <legend class=${hideLabel ? "visually-hidden" : ""}>${label}</legend>
    <div class="choice">
      ${options.map(
        (one) => html`<label key=${one.value} class=${one.disabled ? "is-disabled" : ""}>
          <input
            type="radio"
            name=${name}
            value=${one.value}
            checked=${one.value === value}
            disabled=${one.disabled}
            onChange=${() => onChange(one.value)}
          />
          <span title=${one.hint}>${one.label}</span>
        </label>`,
      )}
    </div>
    ${problem && html`<p class="field-problem">${problem}</p>`}
    ${hint && html`<p class="hint">${hint}</p>`}
  </fieldset>`;
}

/**
 * What went wrong, in the service's words, with the id under which its log has it. retry: asks
 * again now; given where the page does so by itself as well.
 */
export function ProblemNote({ problem, retry, title }) {
  if (!problem) return null;
  const gone = problem instanceof Unreachable;
  const known = problem instanceof ApiProblem;
  const heading = title ?? (gone ? "No answer from the service" : known ? problem.title : "Error");
  const text = gone
    ? `It may be stopped, starting, or out of reach from here. ${retry ? "This page tries again by itself." : "Ask again once it is back."}`
    : known
      ? problem.detail
      : String(problem.message ?? problem);
  return html`<div class=${`note ${gone ? "note-warn" : "note-danger"}`} role="alert">
    <div class="note-text">
      <strong>${heading}</strong>
      ${text && text !== heading && html`<p>${text}</p>`}
      ${known &&
      html`<p class="note-origin">
        ${problem.status} · <a href=${`/docs/errors#${problem.code}`}>${problem.code}</a>${problem.requestId &&
        html` · request <code>${problem.requestId}</code>`}
      </p>`}
    </div>
    ${retry && html`<${Button} small onClick=${retry}>Try again<//>`}
  </div>`;
}

/** A plain remark. tone: info, warn, danger or ok. */
export function Note({ tone = "info", children }) {
  return html`<div class=${`note note-${tone}`}><div class="note-text">${children}</div></div>`;
}

/** Nothing there, and what to do about it. */
export function Empty({ title, children }) {
  return html`<div class="empty">
    <h2>${title}</h2>
    ${children}
  </div>`;
}

/** Something is on its way. */
export function Loading({ label = "Loading" }) {
  return html`<p class="loading" role="status"><span class="spinner" aria-hidden="true"></span>${label}…</p>`;
}

/** The place of text that is on its way. width: of the line, as CSS. */
export function Skeleton({ width = "100%", lines = 1 }) {
  return html`<span class="skeleton-lines" aria-hidden="true">
    ${Array.from({ length: lines }, (_, at) => html`<span key=${at} class="skeleton" style=${{ width }}></span>`)}
  </span>`;
}

/** A word with a colour. tone: plain, accent, ok, warn or danger. */
export function Badge({ tone = "plain", title, children }) {
  return html`<span class=${`badge badge-${tone}`} title=${title}>${children}</span>`;
}

/**
 * Asks before something is done. onConfirm may return a promise: the dialog waits for it, and
 * closes, or says why not. ready: false keeps the confirming button from being pressed.
 */
export function ConfirmDialog({
  title, confirm = "Confirm", kind = "danger", ready = true, onConfirm, onClose, children,
}) {
  const dialog = useRef(null);
  const heading = useId("dialog");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close(); // gives the focus back to where it was
  }, []);
  async function run(event) {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  }
  return html`<dialog
    ref=${dialog}
    class="dialog"
    aria-labelledby=${heading}
    onCancel=${(event) => {
      event.preventDefault();
      if (!busy) onClose();
    }}
  >
    <form onSubmit=${run}>
      <h2 id=${heading}>${title}</h2>
      <div class="dialog-body">${children}</div>
      <${ProblemNote} problem=${problem} />
      <div class="dialog-actions">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind=${kind} type="submit" busy=${busy} disabled=${!ready}>${confirm}<//>
      </div>
    </form>
  </dialog>`;
}

/** Text to take along: a block with a button, or, `inline`, a word with one. */
export function Copyable({ text, label = "Copy", inline = false, children }) {
  const shown = useRef(null);
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  async function copy() {
    const done = await copyText(text, shown.current);
    setCopied(done);
    announce(done ? "Copied" : "Select the text and copy it");
  }
  const button = html`<${Button} small class="copy" aria-label=${copied ? "Copied" : label} onClick=${copy}>
    ${copied ? "Copied" : inline ? "Copy" : label}
  <//>`;
  if (inline) {
    return html`<span class="copyable-inline"><span ref=${shown}>${children ?? text}</span>${button}</span>`;
  }
  return html`<div class="copyable">
    <pre ref=${shown} tabindex="0"><code>${children ?? text}</code></pre>
    ${button}
  </div>`;
}

/** Copies, or, where the browser gives no clipboard (plain http), selects the text shown. */
async function copyText(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // What is shown may be the beginning only.
    if (shown.textContent !== text) return copyUnseen(text);
    getSelection().selectAllChildren(shown);
    return document.execCommand("copy");
  }
}

/** The same of a text that is nowhere on the page. */
function copyUnseen(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
