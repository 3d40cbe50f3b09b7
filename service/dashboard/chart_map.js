// What was drawn of a tensor: pairs of rows as dots on the map n1 × n2.

import { html, useMemo, useState } from "./vendor/htm-preact.js";
import { Figure, Plot, useWidth } from "./chart_frame.js";
import { coordinateTicks, covered, extent, fraction } from "./chart_scales.js";
import { drawnOnce, indexText } from "./chart_draws.js";
import { Choice } from "./components.js";
import { count, probability, short, significant } from "./format.js";

const MARGIN = { top: 20, right: 14, bottom: 38, left: 64 };
const VIEWS = [
  { value: "all", label: "Whole map" },
  { value: "drawn", label: "Drawn range" },
];
const LABELS = 3;
/** Pairs that cover less of the map than this are shown on their own range, until somebody chooses. */
const NARROW = 1 / 16;

/** drawn: one answer of /samples with pairs. shape: {n1, n2}. */
export function MapChart({ drawn, shape }) {
  const [ref, width] = useWidth();
  const [chosen, setChosen] = useState(null);
  const height = Math.round(Math.min(460, Math.max(260, width * 0.62)));
  const dots = useMemo(() => drawnOnce(drawn), [drawn]);
  const view = chosen ?? (coveredMap(dots, shape) < NARROW ? "drawn" : "all");
  const picture = useMemo(() => layout(dots, shape, view, width, height), [dots, shape, view, width, height]);
  const negative = dots.some((one) => one.value < 0);
  return html`
    <${Figure} title="Pairs drawn" summary=${summary(dots, shape)}
      legend=${[{ label: negative ? "Y > 0" : "a pair; its area is its probability", tone: 1, mark: "dot" },
        ...(negative ? [{ label: "Y < 0; areas are probabilities", tone: 2, mark: "dot" }] : [])]}
      controls=${html`<${Choice} label="What the map shows" hideLabel options=${VIEWS} value=${view} onChange=${setChosen} />`}>
      <div class="chart-box" ref=${ref}>
        <${Plot} width=${width} height=${height} label="Map of the pairs drawn" length=${dots.length}
          nearest=${picture.nearest} reading=${(at) => reading(dots[at])} resting=${resting(dots)}>
          ${(at) => html`<${Field} picture=${picture} />
            ${at !== null && html`<${Pointed} picture=${picture} dots=${dots} at=${at} />`}`}
        <//>
      </div>
    <//>`;
}

function Field({ picture }) {
  const { left, right, top, bottom, across, down, positive, negative, margins, labels } = picture;
  return html`
    <rect class="map-frame" x=${left} y=${top} width=${right - left} height=${bottom - top} />
    ${across.map(({ at, label, anchor }) => html`
      <line class="grid" x1=${at} x2=${at} y1=${top} y2=${bottom} />
      <text class="tick" x=${at} y=${bottom + 20} text-anchor=${anchor}>${label}</text>`)}
    ${down.map(({ at, label }) => html`
      <line class="grid" x1=${left} x2=${right} y1=${at} y2=${at} />
      <text class="tick" x=${left - 12} y=${at + 4} text-anchor="end">${label}</text>`)}
    <text class="tick axis-name" x=${(left + right) / 2} y=${bottom + 34} text-anchor="middle">row of A2</text>
    <text class="tick axis-name" x="0" y="12">row of A1</text>
    <path class="rug" d=${margins} />
    <path class="dots tone-1" d=${positive} />
    <path class="dots tone-2" d=${negative} />
    ${labels.map((one) => html`<text class="bar-label" x=${one.x} y=${one.y} text-anchor=${one.anchor}>${one.text}</text>`)}`;
}

function Pointed({ picture, dots, at }) {
  const { places, radii, left, right, top, bottom } = picture;
  const [x, y] = places[at];
  return html`
    <line class="cursor" x1=${x} x2=${x} y1=${top} y2=${bottom} />
    <line class="cursor" x1=${left} x2=${right} y1=${y} y2=${y} />
    <circle class=${`point tone-${dots[at].value < 0 ? 2 : 1}`} cx=${x} cy=${y} r=${radii[at] + 2} />`;
}

function layout(dots, shape, view, width, height) {
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const [[low1, high1], [low2, high2]] = [bounds(dots, 0, shape.n1, view), bounds(dots, 1, shape.n2, view)];
  const x = (index) => left + fraction(index, low2, high2) * (right - left);
  const y = (index) => top + fraction(index, low1, high1) * (bottom - top);
  const places = dots.map((one) => [x(one.whole[1]), y(one.whole[0])]);
  const radii = radiiOf(dots, right - left, bottom - top);
  const draw = (sign) => dots.map((one, at) =>
    Math.sign(one.value || 1) === sign ? circle(...places[at], radii[at]) : "").join("");
  return {
    left, right, top, bottom, places, radii,
    across: coordinateTicks(low2, high2, Math.max(2, Math.floor(width / 130)))
      .map((tick) => ({ at: x(tick), label: tickLabel(tick, low2, high2), anchor: x(tick) - left < 8 ? "start" : "middle" })),
    down: coordinateTicks(low1, high1, 4).map((tick) => ({ at: y(tick), label: tickLabel(tick, low1, high1) })),
    positive: draw(1),
    negative: draw(-1),
    margins: places.map(([px, py]) => `M${px.toFixed(1)} ${bottom + 2}v5M${left - 2} ${py.toFixed(1)}h-5`).join(""),
    labels: labelsOf(dots, places, radii, left, right, top),
    nearest: (px, py) => nearestOf(places, px, py),
  };
}

/** How much of the map lies between the outermost pairs, 0 to 1. */
function coveredMap(dots, shape) {
  const side = (at, size) => covered(dots.map((one) => one.whole[at]), size);
  return side(0, shape.n1) * side(1, shape.n2);
}

/** [first, end) of one side of the map. */
function bounds(dots, side, size, view) {
  if (view === "all" || !dots.length) return [0n, BigInt(size)];
  const [low, high] = extent(dots.map((one) => one.whole[side]));
  const room = (high - low) / 20n + 1n;
  const end = high + room + 1n;
  return [low > room ? low - room : 0n, end < BigInt(size) ? end : BigInt(size)];
}

/** Areas in proportion to the probabilities: all dots together take a twentieth of the map at most. */
function radiiOf(dots, across, down) {
  const total = dots.reduce((sum, one) => sum + (one.probability || 0), 0) || 1;
  const largest = (dots[0]?.probability || 0) / total;
  const area = Math.min((across * down) / 20, (Math.PI * 16 ** 2) / Math.max(largest, 1e-9));
  return dots.map((one) => Math.max(1.5, Math.sqrt(((one.probability || 0) / total) * area / Math.PI)));
}

function circle(x, y, radius) {
  const r = radius.toFixed(2);
  return `M${(x - radius).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${(2 * radius).toFixed(2)} 0`
    + `a${r} ${r} 0 1 0 ${(-2 * radius).toFixed(2)} 0`;
}

function tickLabel(tick, low, high) {
  return high - low > tick / 1000n ? short(tick.toString()) : count(tick.toString());
}

function labelsOf(dots, places, radii, left, right, top) {
  const kept = [];
  for (let at = 0; at < Math.min(LABELS, dots.length); at += 1) {
    const [x, y] = places[at];
    const text = indexText(dots[at].index, count);
    const before = x + radii[at] + text.length * 7 > right;
    const label = { text, x: before ? x - radii[at] - 5 : x + radii[at] + 5, y: Math.max(y + 4, top + 12), anchor: before ? "end" : "start" };
    if (kept.every((one) => Math.abs(one.y - label.y) > 13 || Math.abs(one.x - label.x) > text.length * 7)) kept.push(label);
  }
  return kept;
}

function nearestOf(places, px, py) {
  let [best, least] = [0, Infinity];
  places.forEach(([x, y], at) => {
    const distance = (x - px) ** 2 + (y - py) ** 2;
    if (distance < least) [best, least] = [at, distance];
  });
  return best;
}

function reading(one) {
  const times = one.times > 1 ? `, drawn ${one.times} times` : "";
  return `${indexText(one.index, count)}: value ${significant(one.value, 6)}, `
    + `probability ${probability(one.probability)}${times}`;
}

function resting(dots) {
  if (!dots.length) return "Nothing was drawn.";
  return `${count(dots.length)} different; the largest is ${reading(dots[0])}`;
}

function summary(dots, shape) {
  if (!dots.length) return "Nothing was drawn.";
  return `${dots.length} different pairs drawn from ${count(String(shape.n1))} × ${count(String(shape.n2))}. `
    + `The largest: ${dots.slice(0, 5).map(reading).join("; ")}.`;
}
