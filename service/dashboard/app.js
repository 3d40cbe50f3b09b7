// The dashboard: who is asking, which page is shown, and whether the service is there.
import {
  html, render, useCallback, useEffect, useErrorBoundary, useMemo, useRef, useState,
} from "./vendor/htm-preact.js";
import { ApiProblem, createApi } from "./api.js";
import { Empty, Loading, PageHeading, ProblemNote } from "./components.js";
import { useConnection } from "./connection.js";
import { navigate, useRoute } from "./router.js";
import { Shell } from "./shell.js";
import { CreatePage } from "./page_create.js";
import { KeyPage } from "./page_key.js";
import { ListPage } from "./page_list.js";
import { SketchPage } from "./page_sketch.js";

const ROLES = ["read", "write", "admin"];
const SESSION_SECONDS = 60;

/** The answer of whoami, and what its role may do. */
function sessionOf(whoami) {
  const held = ROLES.indexOf(whoami.role);
  return { ...whoami, may: (role) => held >= ROLES.indexOf(role) };
}

function App() {
  const route = useRoute();
  const [session, setSession] = useState(null);
  // Why a key is asked for: null (it is not), "needed", "lost" or "wrong".
  const [keyWanted, setKeyWanted] = useState(null);
  const [problem, setProblem] = useState(null);
  const connected = useRef(() => {});
  // Where one was in the list and what was typed into the form, for when one comes back.
  const listPlace = useRef({});
  const draft = useRef({});
  const tenant = useRef(null);
  // Counts the keys there have been: an answer to one says nothing of the next.
  const keys = useRef(0);
  const api = useMemo(
    () =>
      createApi({
        onUnauthorized: (hadKey) => {
          take(null);
          setSession(null);
          setKeyWanted(hadKey ? "lost" : "needed");
        },
        onReachable: (reachable) => !reachable && connected.current(),
      }),
    [],
  );
  const [connection, hurry] = useConnection(api);
  connected.current = () => hurry.current();

  function take(key) {
    keys.current += 1;
    api.setKey(key);
  }
  const firstVersion = useRef(null);
  function open(whoami) {
    firstVersion.current ??= whoami.version;
    // Where one was and what one typed is of one tenant.
    if (tenant.current !== null && tenant.current !== whoami.tenant) {
      listPlace.current = {};
      draft.current = {};
    }
    tenant.current = whoami.tenant;
    setSession(sessionOf(whoami));
    setKeyWanted(null);
    setProblem(null);
  }
  const identify = useCallback(async () => {
    const asked = keys.current;
    try {
      const whoami = await api.get("/v1/whoami");
      if (asked === keys.current) open(whoami);
    } catch (error) {
      if (!(error instanceof ApiProblem && error.status === 401)) setProblem(error);
    }
  }, [api]);

  // At first, whenever the service comes back (it may be another version), and now and then.
  const there = connection.state === "unknown" ? "ready" : connection.state;
  useEffect(() => {
    if (there === "unreachable" || keyWanted !== null) return undefined;
    identify();
    const timer = setInterval(() => !document.hidden && identify(), 1000 * SESSION_SECONDS);
    return () => clearInterval(timer);
  }, [there, keyWanted, identify]);

  async function enter(key) {
    take(key);
    try {
      open(await api.get("/v1/whoami", { quiet: true }));
    } catch (error) {
      take(null);
      throw error;
    }
  }
  function forget() {
    take(null);
    setSession(null);
    listPlace.current = {};
    draft.current = {};
    setKeyWanted("forgotten");
  }

  const shared = { api, session, navigate };
  let page;
  if (keyWanted !== null) {
    page = html`<${KeyPage} reason=${keyWanted} enter=${enter} />`;
  } else if (session === null) {
    page = problem === null ? html`<${Loading} label="Asking the service" />` : html`<${Failed} problem=${problem} retry=${identify} />`;
  } else if (route.page === "list") {
    page = html`<${ListPage} key="list" ...${shared} place=${listPlace} />`;
  } else if (route.page === "create") {
    page = html`<${CreatePage} key="create" ...${shared} draft=${draft} />`;
  } else if (route.page === "sketch") {
    page = html`<${SketchPage} key=${`sketch ${route.name}`} ...${shared} name=${route.name} />`;
  } else {
    page = html`<${Missing} key="missing" />`;
  }
  return html`<${Shell}
    route=${route}
    session=${session}
    connection=${connection}
    warn=${session !== null || keyWanted !== null}
    upgraded=${session !== null && firstVersion.current !== session.version}
    forget=${api.hasKey() ? forget : null}
  >
    <${Guarded} key=${`${keyWanted} ${route.page} ${route.name}`}>${page}<//>
  <//>`;
}

/** A bug of a page ends that page, and says so, instead of leaving half of it. */
function Guarded({ children }) {
  const [error, again] = useErrorBoundary((met) => console.error(met));
  if (error === undefined) return children;
  return html`<${PageHeading} title="This page met an error" />
    <${ProblemNote} title="A bug of the dashboard, not of your data" problem=${error} retry=${again} />`;
}

/** Before anything is known: the service does not answer, or not to us. */
function Failed({ problem, retry }) {
  return html`<${PageHeading} title="sketchd is not available" />
    <${ProblemNote} problem=${problem} retry=${retry} />`;
}

function Missing() {
  return html`<${PageHeading} title="Page not found" />
    <${Empty} title="There is no such page">
      <p>The address after the # leads nowhere. <a href="#/">All sketches</a></p>
    <//>`;
}

const place = document.getElementById("app");
place.textContent = "";
render(html`<${App} />`, place);
