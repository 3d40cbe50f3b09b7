// Series over the last minutes: lines, or areas stacked on each other.

import { html, useMemo } from "./vendor/htm-preact.js";
import { Figure, Plot, useWidth } from "./chart_frame.js";
import { linear, ticksTo } from "./chart_scales.js";

const MARGIN = { top: 8, right: 12, bottom: 20, left: 58 };

/**
 * times: milliseconds since the epoch, ascending. series: [{label, tone, values}] with a number or
 * null (unknown: the line has a gap) for each time. unit: what the axis counts. format: a value as
 * text. window_seconds: the longest stretch shown. end: what the latest time is called.
 */
export function LineChart({
  title, times, series, unit, format, stacked = false, window_seconds = 300,
  height = 150, end = "now", empty = "Nothing measured yet.",
}) {
  const [ref, width] = useWidth();
  const drawn = useMemo(
    () => layout({ times, series, stacked, window_seconds, width, height, end }),
    [times, series, stacked, window_seconds, width, height, end],
  );
  const known = times.length > 0 && series.some((one) => one.values.some((value) => value !== null));
  const reading = (at) => readingOf(times, series, format, stacked, at);
  const last = times.length - 1;
  return html`
    <${Figure} title=${`${title} (${unit})`} summary=${summary(title, times, series, format)}
      legend=${series.length > 1 ? series.map((one) => ({ ...one, mark: stacked ? "bar" : "line" })) : null}
      table=${() => tableOf(times, series, format)}>
      <div class="chart-box" ref=${ref}>
        ${known
          ? html`<${Plot} width=${width} height=${height} label=${title} length=${times.length}
              nearest=${drawn.nearest} reading=${reading} resting=${reading(last)}>
              ${(at) => html`
                <${Grid} drawn=${drawn} format=${format} />
                ${drawn.areas.map((one) => html`<path class=${`area tone-${one.tone}`} d=${one.path} />`)}
                ${drawn.lines.map((one) => html`<path class=${`line tone-${one.tone}`} d=${one.path} />`)}
                ${at !== null && html`<${Cursor} drawn=${drawn} at=${at} />`}`}
            <//>`
          : html`<p class="chart-empty" style=${{ height: `${height}px` }}>${empty}</p>`}
      </div>
    <//>`;
}

function Grid({ drawn, format }) {
  const { x, y, ticks, ages, left, right, bottom } = drawn;
  return html`
    ${ticks.map(
      (tick, at) => html`
        <line class=${at === 0 ? "axis" : "grid"} x1=${left} x2=${right} y1=${y(tick)} y2=${y(tick)} />
        <text class="tick" x=${left - 8} y=${y(tick) + 4} text-anchor="end">${format(tick)}</text>`,
    )}
    ${ages.map(
      ([moment, label], at) => html`<text class="tick" x=${x(moment)} y=${bottom + 15}
        text-anchor=${at === 0 ? "end" : "middle"}>${label}</text>`,
    )}`;
}

function Cursor({ drawn, at }) {
  const { x, y, times, tops, bottom } = drawn;
  return html`
    <line class="cursor" x1=${x(times[at])} x2=${x(times[at])} y1=${MARGIN.top} y2=${bottom} />
    ${tops.map(({ tone, values }) =>
      values[at] === null ? null
        : html`<circle class=${`point tone-${tone}`} cx=${x(times[at])} cy=${y(values[at])} r="3.5" />`)}`;
}

/** Everything that depends on the numbers and the size alone. */
function layout({ times, series, stacked, window_seconds, width, height, end: name }) {
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const bottom = height - MARGIN.bottom;
  const end = times.at(-1) ?? 0;
  const seconds = stretch(times, window_seconds);
  const x = linear([end - seconds * 1000, end], [left, right]);
  const tops = stacked ? stack(series) : series;
  const max = Math.max(0, ...tops.flatMap((one) => one.values.map((value) => value ?? 0)));
  const ticks = ticksTo(max || 1, 4);
  const y = linear([0, ticks.at(-1)], [bottom, MARGIN.top]);
  const lines = tops.map(({ tone, values }) => ({ tone, path: linePath(times, values, x, y) }));
  const areas = stacked ? areaPaths(times, tops, x, y) : [];
  const nearest = (px) => nearestTo(times, px, x);
  const ages = agesOf(seconds, width, name).map(([age, label]) => [end - age * 1000, label]);
  return { x, y, ticks, ages, left, right, bottom, times, tops, lines, areas, nearest };
}

/** Seconds to show: all there are, in steps of half a minute and then a minute, up to the window. */
function stretch(times, most) {
  const seen = times.length ? (times.at(-1) - times[0]) / 1000 : 0;
  return seen <= 30 ? 30 : Math.min(most, Math.ceil(seen / 60) * 60);
}

function agesOf(seconds, width, name) {
  const step = seconds <= 30 ? 10 : seconds <= 60 ? 15 : seconds <= 120 ? 30 : 60;
  const every = width < 360 ? step * 2 : step;
  const ages = [[0, name]];
  for (let age = every; age < seconds + 1; age += every) {
    ages.push([age, age % 60 === 0 ? `−${age / 60} min` : `−${age} s`]);
  }
  return ages;
}

/** Each series on top of those before it. */
function stack(series) {
  let below = null;
  return series.map((one) => {
    const values = one.values.map((value, at) =>
      value === null ? null : value + (below?.[at] ?? 0));
    below = values;
    return { ...one, values };
  });
}

function linePath(times, values, x, y) {
  const point = (at) => `${x(times[at]).toFixed(1)} ${y(values[at]).toFixed(1)}`;
  return runs(values).map(([from, to]) => {
    let path = `M${point(from)}`;
    for (let at = from + 1; at <= to; at += 1) path += `L${point(at)}`;
    return from === to ? `${path}h.01` : path; // a dot, as the line's ends are round
  }).join("");
}

/** One closed path for each run of known values between a top and the one below it. */
function areaPaths(times, tops, x, y) {
  return tops.map(({ tone, values }, which) => {
    const below = which === 0 ? null : tops[which - 1].values;
    const path = runs(values).map(([from, to]) => {
      const up = [];
      const down = [];
      for (let at = from; at <= to; at += 1) {
        const px = x(times[at]).toFixed(1);
        up.push(`${px} ${y(values[at]).toFixed(1)}`);
        down.unshift(`${px} ${y(below ? below[at] : 0).toFixed(1)}`);
      }
      return `M${up.join("L")}L${down.join("L")}Z`;
    });
    return { tone, path: path.join("") };
  });
}

function runs(values) {
  const found = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at > 0 && values[at - 1] !== null) found.at(-1)[1] = at;
    else found.push([at, at]);
  });
  return found;
}

function nearestTo(times, px, x) {
  let best = 0;
  times.forEach((time, at) => {
    if (Math.abs(x(time) - px) < Math.abs(x(times[best]) - px)) best = at;
  });
  return best;
}

function readingOf(times, series, format, stacked, at) {
  if (at < 0) return "";
  const parts = series.map((one) =>
    `${series.length > 1 ? `${one.label} ` : ""}${one.values[at] === null ? "unknown" : format(one.values[at])}`);
  const known = series.every((one) => one.values[at] !== null);
  if (stacked && series.length > 1 && known) {
    parts.push(`together ${format(series.reduce((sum, one) => sum + one.values[at], 0))}`);
  }
  return `${clock(times[at])}: ${parts.join(", ")}`;
}

function summary(title, times, series, format) {
  if (!times.length) return `${title}: nothing measured yet.`;
  return `${title}, the last ${Math.round((times.at(-1) - times[0]) / 1000)} seconds. Latest: `
    + readingOf(times, series, format, false, times.length - 1);
}

function tableOf(times, series, format) {
  const rows = times.map((time, at) => [
    clock(time), ...series.map((one) => (one.values[at] === null ? "unknown" : format(one.values[at]))),
  ]);
  return { columns: ["Time", ...series.map((one) => one.label)], rows: rows.reverse() };
}

/** The time of day, with seconds. */
export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour12: false });
}
