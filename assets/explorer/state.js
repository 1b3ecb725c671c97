// What is looked at, and who is told when that changes.
const byId = (id) => document.getElementById(id);

const state = {
  model: 0,
  label: data.labels[0],
  reference: "catalogue",
  drag: "select",
  // Stars within the brush, or null without one; stars that the filter lets through, or null.
  brushed: null,
  filtered: null,
  star: null,
  hovered: null,
};

const told = [];
const whenChanged = (what) => told.push(what);
// `changes` are new values of the state.
function change(changes) {
  const changed = new Set(Object.keys(changes).filter((key) => state[key] !== changes[key]));
  Object.assign(state, changes);
  if (changed.size > 0) told.forEach((what) => what(changed));
}

const isSelected = (star) => (!state.brushed || state.brushed.has(star)) && (!state.filtered || state.filtered.has(star));
const hasSelection = () => state.brushed !== null || state.filtered !== null;

const column = (name) => columns[name] ?? null;
const estimates = (label, model = state.model) => column(`estimate.${model}.${label.name}`);
const references = (label) => column(`${state.reference}.${label.name}`);
const isCalibrated = (label, model = state.model) => column(`calibrated.${model}.${label.name}`) !== null;
const errors = (label, model = state.model) => column(`calibrated.${model}.${label.name}`) ?? column(`error.${model}.${label.name}`);

function differences(label, model = state.model) {
  const [estimate, reference] = [estimates(label, model), references(label)];
  return estimate && reference ? estimate.map((value, star) => value - reference[star]) : null;
}

const flagsOf = (star, model = state.model) => {
  const bits = column(`flags.${model}`)?.[star] ?? 0;
  return data.flags.filter(([bit]) => Math.floor(bits / bit) % 2 === 1).map(([, name]) => name);
};
const verdicts = new Map((data.verdicts ?? []).map(([star, verdict, reason]) => [star, { verdict, reason }]));

const titled = (label) => (label.unit ? `${label.title} [${label.unit}]` : label.title);

// Numbers have the digits that their unit deserves.
function written(value, unit, more = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "K") return value.toFixed(more);
  if (unit === "dex") return value.toFixed(2 + more);
  return Number.isInteger(value) ? String(value) : value.toPrecision(4 + more);
}
const signed = (value, unit) => (value >= 0 ? "+" : "") + written(value, unit, 1);

// An element with text and children; nothing is ever taken for markup.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function quantile(sorted, q) {
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// From where to where an axis goes: all values, but for those far beyond nearly all.
function home(values, always = []) {
  const sorted = Float64Array.from(values).filter(Number.isFinite).sort();
  if (sorted.length === 0) return [0, 1];
  const [low, high] = [quantile(sorted, 0.01), quantile(sorted, 0.99)];
  const room = 0.35 * (high - low);
  let [from, to] = [Math.max(sorted[0], low - room), Math.min(sorted[sorted.length - 1], high + room)];
  for (const value of always) [from, to] = [Math.min(from, value), Math.max(to, value)];
  const margin = to > from ? 0.04 * (to - from) : Math.max(Math.abs(from) * 0.05, 0.5);
  return [from - margin, to + margin];
}

// Options that all axes share.
const axis = (label, size) => ({
  label, size, labelSize: 20, gap: 3, labelGap: 0, stroke: color("ink"), font: "12px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif",
  grid: { stroke: color("line"), width: 0.5 }, ticks: { stroke: color("line"), width: 1, size: 4 },
});

// A range, closer by a factor, about a place within it.
const closer = ([from, to], factor, about = (from + to) / 2) => [about - (about - from) * factor, about + (to - about) * factor];
