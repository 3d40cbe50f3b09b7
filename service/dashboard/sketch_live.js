// What a sketch is doing now: its info and activity, asked again and again, and their history.
import { useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem, path } from "./api.js";
import { usePolled } from "./polling.js";

const EVERY_SECONDS = 2;
export const WINDOW_SECONDS = 300;
/** Between two answers further apart than this nothing is known. */
const GAP_SECONDS = 8;

/**
 * {info, activity, history, asOf, problem, gone, loading, retry}. The last answers stay while the
 * service does not answer (`problem`). gone: "deleted", "expired" or "missing" (it was never seen),
 * else null.
 */
export function useLive(api, name) {
  const polled = usePolled(({ signal }) => ask(api, name, signal), [api, name], { seconds: EVERY_SECONDS });
  const current = polled.data?.info.name === name ? polled.data : null;
  const history = useHistory(current, polled.asOf);
  return {
    ...polled,
    info: current?.info ?? null,
    activity: current?.activity ?? null,
    history,
    gone: goneOf(polled.problem, current),
  };
}

async function ask(api, name, signal) {
  const [info, activity] = await Promise.all([
    api.get(path(["sketches", name]), { signal }),
    api.get(path(["sketches", name, "activity"]), { signal }).catch(unlessAway),
  ]);
  return { info, activity };
}

/** A replica that knows no activity (an older one, say) still shows the rest. */
function unlessAway(error) {
  if (error instanceof ApiProblem && error.status !== 401) return null;
  throw error;
}

function goneOf(problem, current) {
  if (!(problem instanceof ApiProblem) || problem.status !== 404) return null;
  if (current === null) return "missing";
  const { expires_at: expires } = current.info;
  return expires !== null && Date.parse(expires) <= Date.now() + 1000 * EVERY_SECONDS ? "expired" : "deleted";
}

/** {times, state, log, rate}: columns over the last minutes, null where nothing is known. */
function useHistory(current, asOf) {
  const kept = useRef({ made: null, points: [] });
  const [version, setVersion] = useState(0);
  useEffect(() => {
    if (current === null || asOf === null) return;
    const { info } = current;
    const made = `${info.name} ${info.created_at}`;
    if (kept.current.made !== made) kept.current = { made, points: [] };
    const oldest = asOf - 1000 * WINDOW_SECONDS;
    const points = kept.current.points.filter((one) => one.time >= oldest);
    points.push({ time: asOf, ...info.memory_bytes, updates: BigInt(info.updates) });
    kept.current.points = points;
    setVersion((last) => last + 1);
  }, [current, asOf]);
  return useMemo(() => columnsOf(kept.current.points), [version]);
}

/** A point without values stands in each gap, so that no line is drawn through it. */
export function columnsOf(points) {
  const columns = { times: [], state: [], log: [], rate: [] };
  const push = (time, state, log, rate) => {
    columns.times.push(time);
    columns.state.push(state);
    columns.log.push(log);
    columns.rate.push(rate);
  };
  points.forEach((one, at) => {
    const last = points[at - 1];
    const passed = last ? (one.time - last.time) / 1000 : 0;
    if (passed > GAP_SECONDS) push((one.time + last.time) / 2, null, null, null);
    const grown = last ? Number(one.updates - last.updates) : 0;
    const known = last && passed > 0 && passed <= GAP_SECONDS && grown >= 0;
    push(one.time, one.state, one.log, known ? grown / passed : null);
  });
  return columns;
}

/** The latest rate that is known, over a few points: a single one jumps. */
export function currentRate(history) {
  const known = history.rate.slice(-3).filter((one) => one !== null);
  return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null;
}
