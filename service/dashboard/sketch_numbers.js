// The numbers that move: memory, updates, rates and latencies.
import { html, useMemo } from "./vendor/htm-preact.js";
import { LatencyChart } from "./chart_latency.js";
import { LineChart, clock } from "./chart_line.js";
import { bytes, count, rate } from "./format.js";
import { WINDOW_SECONDS, currentRate } from "./sketch_live.js";

/** live: what useLive gives. Old numbers are greyed and say from when they are. */
export function NumbersPanel({ live }) {
  const { info, activity, history, asOf, problem } = live;
  const old = problem !== null;
  const end = old ? clock(asOf) : "now";
  const memory = useMemo(() => [
    { label: "state", tone: 1, values: history.state },
    { label: "log", tone: 2, values: history.log },
  ], [history]);
  const updates = useMemo(() => [{ label: "updates", tone: 1, values: history.rate }], [history]);
  const latencies = activity && [
    { label: "Updates", tone: 1, ...activity.update },
    { label: "Samples", tone: 2, ...activity.sample },
  ];
  return html`<section class=${`panel numbers-panel ${old ? "is-old" : ""}`} aria-labelledby="live-heading">
    <h2 id="live-heading" class="panel-heading">Live
      <span class="as-of" role="status">${old ? `as of ${clock(asOf)}` : ""}</span></h2>
    <${Tiles} info=${info} activity=${activity} history=${history} />
    <div class="live-charts">
      <${LineChart} title="Memory" unit="bytes" stacked times=${history.times} series=${memory} format=${bytes} end=${end}
        window_seconds=${WINDOW_SECONDS} />
      <${LineChart} title="Updates" unit="increments a second" times=${history.times} series=${updates} format=${rate} end=${end}
        window_seconds=${WINDOW_SECONDS} empty="The rate shows after two looks at the sketch." />
    </div>
    ${latencies && html`<${LatencyChart} rows=${latencies} seconds=${Math.min(activity.window_seconds, activity.watched_seconds)}
      empty="This replica has answered no updates or samples of this sketch lately." />`}
  </section>`;
}

function several(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function Tiles({ info, activity, history }) {
  const { state, log } = info.memory_bytes;
  const tiles = [
    ["Memory", bytes(state + log), `state ${bytes(state)}, log ${bytes(log)}`],
    ["Increments", count(info.updates), info.underflowed ? `${count(info.underflowed)} rounded to nothing` : "accepted since it was created"],
    ["Update rate", rate(currentRate(history)), "increments a second, now"],
    activity && ["Requests", count(activity.update.requests + activity.sample.requests),
      `${several(activity.update.requests, "update")}, ${several(activity.sample.requests, "sample")} lately`],
  ];
  return html`<dl class="tiles">
    ${tiles.filter(Boolean).map(([term, value, more]) => html`
      <div key=${term}><dt>${term}</dt><dd>${value}</dd><dd class="tile-more">${more}</dd></div>`)}
  </dl>`;
}
