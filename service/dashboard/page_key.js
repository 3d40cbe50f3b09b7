// Asks for an access key, and hands it to the api, which alone keeps it.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem } from "./api.js";
import { Button, Copyable, Field, PageHeading, ProblemNote } from "./components.js";

const REASONS = {
  needed: "This service asks for an access key.",
  lost: "The key works no longer: it was removed, or its time is over. Enter another one.",
  forgotten: "The key is forgotten. Enter one to go on.",
};

export function KeyPage({ reason, enter }) {
  const input = useRef(null);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const [problem, setProblem] = useState(null);
  useEffect(() => input.current.focus(), []);

  async function submit(event) {
    event.preventDefault();
    const key = input.current.value.trim();
    // Out of the document before anything else happens.
    input.current.value = "";
    setProblem(null);
    if (key === "") {
      setWrong("Enter a key.");
      return;
    }
    if (!/^[\x21-\x7e]+$/.test(key)) {
      setWrong("A key is one word of plain letters, digits and signs.");
      return;
    }
    setWrong("");
    setBusy(true);
    try {
      await enter(key);
    } catch (error) {
      setBusy(false);
      if (error instanceof ApiProblem && error.status === 401) {
        setWrong("The service does not know this key: it is mistyped, removed, or its time is over.");
      } else setProblem(error);
      input.current.focus();
    }
  }

  return html`<div class="key-page">
    <${PageHeading} title="Access key" />
    <p>${REASONS[reason]}</p>
    <form onSubmit=${submit} autocomplete="off">
      <${Field} label="Key" problem=${wrong}>
        <input ref=${input} type="password" class="mono" autocomplete="off" autocapitalize="off" spellcheck=${false} placeholder="skd_…" />
      <//>
      <${Button} kind="primary" type="submit" busy=${busy}>Open<//>
    </form>
    <${ProblemNote} problem=${problem} />
    <section>
      <h2>Where a key comes from</h2>
      <p>Whoever runs the service makes one, and it is printed once:</p>
      <${Copyable} text="sketchd key add default --role read" />
      <p class="muted">
        With the role <code>read</code> one can look and draw, with <code>write</code> also create, change and delete. The key stays in this page's memory: closing or reloading the page forgets it.
      </p>
    </section>
  </div>`;
}
