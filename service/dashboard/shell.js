// Around every page: where one is, as whom, and how the service is.
import { html, useState } from "./vendor/htm-preact.js";
import { Badge, Button, Note } from "./components.js";

const STATES = {
  unknown: ["muted", "Connecting"],
  ready: ["ok", "Ready"],
  "not-ready": ["warn", "Not ready"],
  unreachable: ["danger", "Unreachable"],
};

/** warn: whether the content does not say itself that the service is gone. */
export function Shell({ route, session, connection, forget, warn, upgraded, children }) {
  return html`
    <a class="skip-link" href="#content" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <div class="top-inner">
        <a class="wordmark" href="#/" aria-label="sketchd, all sketches"><${Mark} />sketchd</a>
        ${session &&
        html`<nav aria-label="Main">
          <a href="#/" aria-current=${route.page === "list" ? "page" : undefined}>Sketches</a>
          <a href="#/new" aria-current=${route.page === "create" ? "page" : undefined}>New<span class="wide-only"> sketch</span></a>
        </nav>`}
        <div class="top-state">
          <${ConnectionState} connection=${connection} />
          ${session && html`<${Who} session=${session} forget=${forget} />`}
          <${ThemeSwitch} />
        </div>
      </div>
    </header>
    <main id="content" tabindex="-1">
      ${warn && html`<${Warning} connection=${connection} />`}
      ${upgraded && html`<${Upgraded} version=${session.version} />`}
      ${children}
    </main>
    <footer class="bottom">
      <span>sketchd ${session ? session.version : ""}</span>
      <a href="/docs">HTTP API</a>
      <a href="/docs/errors">Problem codes</a>
      <a href="/metrics">Metrics</a>
    </footer>
    <div id="announcements" class="visually-hidden" aria-live="polite"></div>
  `;
}

/** The address is the router's: the link must not change it. */
function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
    <rect x="1.5" y="11" width="3" height="7" rx="1" opacity=".45" />
    <rect x="6.5" y="7" width="3" height="11" rx="1" opacity=".45" />
    <rect x="11.5" y="2" width="3" height="16" rx="1" />
    <rect x="16.5" y="9" width="3" height="9" rx="1" opacity=".45" />
  </svg>`;
}

function ConnectionState({ connection }) {
  const [tone, words] = STATES[connection.state];
  return html`<span class=${`connection connection-${tone}`} role="status" title=${connection.reason || undefined}>
    <span class="dot" aria-hidden="true"></span>${words}
  </span>`;
}

function Warning({ connection }) {
  if (connection.state === "unreachable") {
    return html`<div class="note note-danger" role="alert">
      <div class="note-text">
        <strong>The service does not answer.</strong>
        <p>What is shown is what it said last. This page goes on by itself once it is back.</p>
      </div>
    </div>`;
  }
  if (connection.state === "not-ready") {
    return html`<div class="note note-warn" role="alert">
      <div class="note-text">
        <strong>The service is not ready.</strong>
        <p>${connection.reason}</p>
      </div>
    </div>`;
  }
  return null;
}

/** The page is of the version before, and may ask for what there is no more. */
function Upgraded({ version }) {
  return html`<${Note}>
    The service is now version ${version}, and this page of the one before.${" "}
    <${Button} small onClick=${() => window.location.reload()}>Load it again<//>
  <//>`;
}

function Who({ session, forget }) {
  return html`<span class="who">
    <span class="who-tenant" title=${session.key === null ? "no access keys are needed here" : `key ${session.key}`}>
      ${session.tenant}
    </span>
    <${Badge} title="the role of the key">${session.role}<//>
    ${forget && html`<${Button} small onClick=${forget}>Forget key<//>`}
  </span>`;
}

const THEMES = [
  ["auto", "Theme of the system", "M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14ZM10 3v14a7 7 0 0 0 0-14Z"],
  ["light", "Light theme", "M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7ZM10 1.8v2M10 16.2v2M1.8 10h2M16.2 10h2M4.2 4.2l1.4 1.4M14.4 14.4l1.4 1.4M15.8 4.2l-1.4 1.4M5.6 14.4l-1.4 1.4"],
  ["dark", "Dark theme", "M15.5 12.3A6.5 6.5 0 0 1 7.7 4.5a6.5 6.5 0 1 0 7.8 7.8Z"],
];

function ThemeSwitch() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto");
  function choose(name) {
    setTheme(name);
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    try {
      if (name === "auto") localStorage.removeItem("sketchd-theme");
      else localStorage.setItem("sketchd-theme", name);
    } catch {
      // Storage is turned off: it holds for as long as the page does.
    }
  }
  return html`<div class="themes" role="group" aria-label="Theme">
    ${THEMES.map(
      ([name, label, path], at) => html`<button
        key=${name}
        type="button"
        aria-label=${label}
        title=${label}
        aria-pressed=${theme === name ? "true" : "false"}
        onClick=${() => choose(name)}
      >
        <svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" class=${at === 0 ? "half" : ""}>
          <path d=${path} />
        </svg>
      </button>`,
    )}
  </div>`;
}
