// Asking again and again, gently: never while nobody looks, never twice at once, and less often
// while the service does not answer.
import { useEffect, useRef, useState } from "./vendor/htm-preact.js";

const SLOWEST_SECONDS = 15;
const LONGEST_WAIT_SECONDS = 300;

/**
 * Loads now and every so many seconds while the page is visible.
 *
 * load({signal}): a promise. dependencies: when one changes, what is under way is cancelled and
 * asked anew. Returns {data, problem, asOf, loading, retry}: the last answer stays while a later
 * one fails (`problem`) or is awaited after a change (`loading`); asOf is when it came, in ms.
 */
export function usePolled(load, dependencies, { seconds = 4, enabled = true } = {}) {
  const [state, setState] = useState({ data: null, problem: null, asOf: null, loading: true });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    if (!enabled) return undefined;
    const controller = new AbortController();
    let timer = null;
    let asking = false;
    let failures = 0;
    let waits = 0; // seconds the service has asked for

    async function ask() {
      if (asking || controller.signal.aborted) return;
      clearTimeout(timer);
      timer = null;
      asking = true;
      try {
        const data = await latest.current({ signal: controller.signal });
        if (controller.signal.aborted) return;
        failures = 0;
        waits = 0;
        setState({ data, problem: null, asOf: Date.now(), loading: false });
      } catch (error) {
        if (controller.signal.aborted) return;
        failures += 1;
        waits = error.retryAfter ?? 0;
        setState((last) => ({ ...last, problem: told(last.problem, error), loading: false }));
      } finally {
        asking = false;
      }
      if (!document.hidden) timer = setTimeout(ask, 1000 * pause(seconds, failures, waits));
    }
    function onVisible() {
      if (document.hidden) {
        clearTimeout(timer);
        timer = null;
      } else if (timer === null) {
        ask();
      }
    }

    setState((last) => ({ ...last, loading: true }));
    ask();
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      controller.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [...dependencies, seconds, enabled, turn]);

  return { ...state, retry: () => setTurn((last) => last + 1) };
}

/** Seconds to the next question: as agreed while all is well, slower with each failure, and never
 * before the service wants to be asked again. */
export function pause(seconds, failures, waits) {
  if (failures === 0) return seconds;
  const slowed = Math.min(SLOWEST_SECONDS, seconds * 2 ** Math.min(failures, 6));
  return Math.max(slowed, Math.min(waits, LONGEST_WAIT_SECONDS));
}

/** The problem to show: the same one met again stays as it was, or it would be read out again. */
function told(last, met) {
  const same = last !== null && last.name === met.name && last.status === met.status && last.code === met.code;
  return same ? last : met;
}

/** The value, once it has not changed for so many milliseconds. */
export function useDebounced(value, milliseconds = 250) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
