// What was drawn of a vector or of A x: bars of probability over the coordinates.

import { html, useMemo, useState } from "./vendor/htm-preact.js";
import { Figure, Plot, useWidth } from "./chart_frame.js";
import { coordinateTicks, covered, extent, fraction, linear, ticksTo } from "./chart_scales.js";
import { drawnOnce } from "./chart_draws.js";
import { Choice } from "./components.js";
import { count, probability, short, significant } from "./format.js";

const MARGIN = { top: 22, right: 14, bottom: 34, left: 58 };
const LABELS = 5;
/** Draws that cover less of the range than this are shown on their own range, until somebody chooses. */
const NARROW = 1 / 8;
const VIEWS = [
  { value: "all", label: "Whole range" },
  { value: "drawn", label: "Drawn range" },
  { value: "rank", label: "Largest first" },
];

/**
 * drawn: one answer of /samples, of coordinates in [0, n). size: n, a number or digits. law: the
 * power in words, for the title. coordinate: what an index is called.
 */
export function BarsChart({ drawn, size, law = "|y|²", coordinate = "index", height = 240 }) {
  const [ref, width] = useWidth();
  const [chosen, setChosen] = useState(null);
  const bars = useMemo(() => drawnOnce(drawn), [drawn]);
  const view = chosen ?? (covered(bars.map((one) => one.whole), size) < NARROW ? "drawn" : "all");
  const picture = useMemo(() => layout(bars, size, view, width, height), [bars, size, view, width, height]);
  const negative = bars.some((one) => one.value < 0);
  return html`
    <${Figure} title="Probability of what was drawn" summary=${summary(bars, law, coordinate)}
      legend=${negative ? [{ label: "y > 0", tone: 1 }, { label: "y < 0", tone: 2 }] : null}
      controls=${html`<${Choice} label="Horizontal axis" hideLabel options=${VIEWS} value=${view} onChange=${setChosen} />`}>
      <div class="chart-box" ref=${ref}>
        <${Plot} width=${width} height=${height} label="Probability by coordinate" length=${bars.length}
          nearest=${picture.nearest} reading=${(at) => reading(picture.order[at], coordinate)}
          resting=${resting(bars, coordinate)}>
          ${(at) => html`<${Bars} picture=${picture} coordinate=${coordinate} />
            ${at !== null && html`<${Pointed} picture=${picture} at=${at} />`}`}
        <//>
      </div>
    <//>`;
}

function Bars({ picture, coordinate }) {
  const { left, right, bottom, y, ticks, marks, positive, negative, rug, thickness, labels, view } = picture;
  return html`
    ${ticks.map(
      (tick, at) => html`
        <line class=${at === 0 ? "axis" : "grid"} x1=${left} x2=${right} y1=${y(tick)} y2=${y(tick)} />
        <text class="tick" x=${left - 8} y=${y(tick) + 4} text-anchor="end">${probability(tick)}</text>`,
    )}
    ${marks.map(({ x, label, anchor }) => html`<text class="tick" x=${x} y=${bottom + 19} text-anchor=${anchor}>${label}</text>`)}
    <text class="tick axis-name" x=${(left + right) / 2} y=${bottom + 32} text-anchor="middle">
      ${view === "rank" ? `${coordinate}, largest probability first` : coordinate}</text>
    <path class="bars tone-1" d=${positive} stroke-width=${thickness} />
    <path class="bars tone-2" d=${negative} stroke-width=${thickness} />
    <path class="rug" d=${rug} />
    ${labels.map(({ x, y: top, text }) => html`<text class="bar-label" x=${x} y=${top} text-anchor="middle">${text}</text>`)}`;
}

function Pointed({ picture, at }) {
  const { order, places, bottom, y } = picture;
  const one = order[at];
  return html`
    <line class="cursor" x1=${places[at]} x2=${places[at]} y1=${MARGIN.top} y2=${bottom} />
    <circle class=${`point tone-${one.value < 0 ? 2 : 1}`} cx=${places[at]} cy=${y(shareOf(one))} r="4" />`;
}

/** A probability fit to draw: null is one too large for float64. */
function shareOf(one) {
  return Number.isFinite(one.probability) ? one.probability : 0;
}

function layout(bars, size, view, width, height) {
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const bottom = height - MARGIN.bottom;
  const ticks = ticksTo(Math.max(...bars.map(shareOf).slice(0, 1), 1e-12), 4);
  const y = linear([0, ticks.at(-1)], [bottom, MARGIN.top]);
  const { order, places, marks } = placed(bars, size, view, left, right);
  const rise = (sign) => order.map((one, at) =>
    Math.sign(one.value || 1) === sign
      ? `M${places[at].toFixed(1)} ${bottom}V${Math.min(y(shareOf(one)), bottom - 1).toFixed(1)}` : "").join("");
  return {
    left, right, bottom, y, ticks, marks, order, places, view,
    positive: rise(1),
    negative: rise(-1),
    rug: places.map((x) => `M${x.toFixed(1)} ${bottom + 2}v4`).join(""),
    thickness: Math.max(1, Math.min(view === "rank" ? 28 : 4, ((right - left) / Math.max(order.length, 1)) * 0.7)),
    labels: labelsOf(order, places, y, left, right),
    nearest: (px) => nearestOf(places, px),
  };
}

/** The bars from left to right, where each stands, and the marks of the axis. bars: largest first. */
function placed(bars, size, view, left, right) {
  if (view === "rank") {
    const x = linear([0, Math.max(bars.length, 1)], [left, right]);
    const places = bars.map((_, at) => x(at + 0.5));
    const labelled = bars.length * 34 <= right - left && bars.every((one) => String(one.index).length < 6);
    const marks = labelled
      ? bars.map((one, at) => ({ x: places[at], label: String(one.index), anchor: "middle" })) : [];
    return { order: bars, places, marks };
  }
  const order = [...bars].sort((one, other) => (one.whole < other.whole ? -1 : one.whole > other.whole ? 1 : 0));
  const [low, high] = bounds(order, size, view);
  const x = (index) => left + fraction(index, low, high) * (right - left);
  const wanted = Math.max(2, Math.floor((right - left) / 110));
  const marks = coordinateTicks(low, high, wanted).map((tick) => ({
    x: x(tick), label: axisLabel(tick, low, high), anchor: anchorAt(x(tick), left, right),
  }));
  if (view === "all") marks.push({ x: right, label: `n = ${short(String(size))}`, anchor: "end" });
  return { order, places: order.map((one) => x(one.index)), marks: spaced(marks) };
}

function bounds(order, size, view) {
  if (view === "all" || !order.length) return [0n, BigInt(size)];
  const [low, high] = extent([order[0].index, order.at(-1).index]);
  const room = (high - low) / 20n + 1n;
  const first = low > room ? low - room : 0n;
  const end = high + room < BigInt(size) ? high + room : BigInt(size);
  return [first, end];
}

/** Short where the range is long; where it is narrow every digit tells. */
function axisLabel(tick, low, high) {
  return high - low > tick / 1000n ? short(tick.toString()) : count(tick.toString());
}

function anchorAt(x, left, right) {
  if (x - left < 8) return "start";
  return right - x < 8 ? "end" : "middle";
}

/** Without the marks that would run into the last one. */
function spaced(marks) {
  const last = marks.at(-1);
  return marks.filter((mark) => mark === last || last.x - mark.x > 84 || last.anchor !== "end");
}

/** Texts over the largest bars, those that have room. */
function labelsOf(order, places, y, left, right) {
  const largest = order.map((one, at) => [one, places[at]])
    .sort(([one], [other]) => shareOf(other) - shareOf(one)).slice(0, LABELS);
  const kept = [];
  for (const [one, x] of largest) {
    const text = count(String(one.index)) + (one.times > 1 ? ` ×${one.times}` : "");
    const half = text.length * 3.6;
    const at = Math.min(Math.max(x, left + half), right - half);
    const top = y(shareOf(one)) - 6;
    const clear = kept.every((other) =>
      Math.abs(other.x - at) > other.half + half + 4 || Math.abs(other.y - top) > 16);
    if (clear) kept.push({ x: at, y: top, half, text });
  }
  return kept;
}

function nearestOf(places, px) {
  let best = 0;
  for (let at = 1; at < places.length; at += 1) {
    if (Math.abs(places[at] - px) < Math.abs(places[best] - px)) best = at;
  }
  return best;
}

function reading(one, coordinate) {
  const times = one.times > 1 ? `, drawn ${one.times} times` : "";
  return `${coordinate} ${count(String(one.index))}: value ${significant(one.value, 6)}, `
    + `probability ${probability(one.probability)}${times}`;
}

function resting(bars, coordinate) {
  if (!bars.length) return "Nothing was drawn.";
  return `${count(bars.length)} different; the largest is ${reading(bars[0], coordinate)}`;
}

function summary(bars, law, coordinate) {
  if (!bars.length) return "Nothing was drawn.";
  const largest = bars.slice(0, LABELS).map((one) => reading(one, coordinate)).join("; ");
  return `${bars.length} different coordinates drawn in proportion to ${law}. The largest: ${largest}.`;
}
