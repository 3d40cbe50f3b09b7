// Whether the service can be reached and is ready, as last seen.
import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem } from "./api.js";

const READY_SECONDS = 5;
const NOT_READY_SECONDS = 2;
const PATIENCE_SECONDS = 8;

/** Says "ready", "not-ready" or "unreachable"; "unknown" before the first answer. */
export function useConnection(api) {
  const [state, setState] = useState({ state: "unknown", reason: "" });
  const hurry = useRef(() => {});
  useEffect(() => {
    let timer = null;
    let asking = false;
    let ended = false;
    async function check() {
      if (asking || ended) return;
      clearTimeout(timer);
      timer = null;
      asking = true;
      const found = await seen(api);
      asking = false;
      if (ended) return;
      setState((last) =>
        last.state === found.state && last.reason === found.reason ? last : found,
      );
      const wait = found.state === "ready" ? READY_SECONDS : NOT_READY_SECONDS;
      if (!document.hidden) timer = setTimeout(check, 1000 * wait);
    }
    function onVisible() {
      if (!document.hidden && timer === null) check();
    }
    hurry.current = check;
    check();
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [api]);
  return [state, hurry];
}

async function seen(api) {
  try {
    await api.get("/readyz", { patience: PATIENCE_SECONDS });
    return { state: "ready", reason: "" };
  } catch (error) {
    if (error instanceof ApiProblem) return { state: "not-ready", reason: error.detail };
    return { state: "unreachable", reason: "" };
  }
}
