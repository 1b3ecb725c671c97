// One star: its labels by every model, its spectrum beside the best fits, what is left over in units of the noise.
const view = { plots: [], spectrum: null, range: null, hidden: new Set(), dashes: [[], [6, 3], [2, 3], [8, 3, 2, 3]] };

async function openStar(star, isAsked = false) {
  if (isAsked) turnTo(star);
  change({ star });
  const spectrum = await spectrumOf(star);
  // Somebody may have gone on meanwhile.
  if (state.star !== star) return;
  view.spectrum = spectrum;
  showStar();
  if (!isAsked) return;
  history.replaceState(null, "", `#${encodeURIComponent(data.ids[star])}`);
  const box = byId("star").getBoundingClientRect();
  if (box.top > innerHeight * 0.7 || box.bottom < 120) byId("star").scrollIntoView();
}

function closeStar() {
  change({ star: null });
  view.spectrum = null;
  showStar();
  history.replaceState(null, "", location.pathname + location.search);
}

function showStar() {
  const { star } = state;
  byId("star").hidden = star === null;
  byId("upper").classList.toggle("alone", star === null);
  if (star === null) return;
  byId("star-id").textContent = data.ids[star];
  showFacts(star);
  showLabels(star);
  byId("spectrum").hidden = view.spectrum === null;
  const isLeftOut = data.spectra && view.spectrum === null;
  byId("no-spectrum").textContent = isLeftOut ? `Its spectrum is not on this page. ${spectraWords()}` : "";
  if (view.spectrum) showSpectrum();
  const elsewhere = byId("no-spectrum");
  data.others.forEach(([name, address], i) => {
    const href = `${addressOf(address)}#${encodeURIComponent(data.ids[star])}`;
    elsewhere.append(i === 0 ? "Its spectrum in the runs compared: " : ", ", element("a", { href, textContent: name }));
  });
}

function showFacts(star) {
  const facts = byId("star-facts");
  facts.replaceChildren();
  const say = (words) => facts.append(words);
  const snr = column("snr")?.[star];
  if (Number.isFinite(snr)) say(`S/N ${written(snr, "", -1)} per pixel. `);
  const masked = column("masked")?.[star];
  if (Number.isFinite(masked)) say(`${(100 * masked).toFixed(1)}% of its pixels are masked. `);
  data.models.forEach((name, model) => {
    const flags = flagsOf(star, model);
    if (flags.length > 0) say(`${name}: ${flags.join(", ")}. `);
  });
  if (verdicts.has(star)) {
    const { verdict, reason } = verdicts.get(star);
    say(element("b", { textContent: `${verdict}: ` }));
    say(`${reason} `);
  }
  if (data.pathology?.[star]) say(`Planted: ${data.pathology[star]}. `);
  const [folder, name] = data.files?.of_star[star] ?? [0, ""];
  if (name) {
    const address = [data.files.folders[folder], name].filter(Boolean).join("/");
    say(element("a", { href: addressOf(address), textContent: name }));
  }
}

// An address below or beside the page, whatever letters it has.
const addressOf = (path) => path.split("/").map(encodeURIComponent).join("/");

function showLabels(star) {
  const head = ["", ...["catalogue", "truth"].filter((name) => data.labels.some((label) => column(`${name}.${label.name}`))), ...data.models];
  const rows = data.labels.map((label) => {
    const cells = [element("th", { className: "w", scope: "row", textContent: titled(label) })];
    for (const name of head.slice(1, head.length - data.models.length)) {
      cells.push(element("td", { textContent: written(column(`${name}.${label.name}`)?.[star], label.unit) }));
    }
    data.models.forEach((_, model) => {
      const [estimate, error] = [estimates(label, model)?.[star], errors(label, model)?.[star]];
      cells.push(element("td", { textContent: `${written(estimate, label.unit)} ± ${written(error, label.unit, label.unit === "K" ? 0 : 1)}` }));
    });
    return element("tr", {}, ...cells);
  });
  const chi2 = ["χ²/dof", ...head.slice(1, head.length - data.models.length).map(() => ""), ...data.models.map((_, model) => written(column(`chi2.${model}`)?.[star], "", -1))];
  if (data.models.some((_, model) => column(`chi2.${model}`))) rows.push(element("tr", {}, ...chi2.map((text, i) => element(i ? "td" : "th", { textContent: text, className: i ? "" : "w" }))));
  byId("star-labels").replaceChildren(element("tr", {}, ...head.map((text) => element("th", { textContent: text, scope: "col" }))), ...rows);
}

// The model whose residual is shown: the chosen one, where it has a best fit.
function residualModel() {
  const shown = view.spectrum.models.filter((model) => !view.hidden.has(model.name));
  return shown.find((model) => model.name === data.models[state.model]) ?? shown[0] ?? null;
}

function showSpectrum() {
  const { flux, noise, models } = view.spectrum;
  showCurves(models);
  const shown = models.filter((model) => !view.hidden.has(model.name));
  const residual = residualModel();
  const all = [wavelength[0], wavelength[wavelength.length - 1]];
  view.range ??= atFirst();
  // Nothing is drawn from one chip to the next.
  const none = (values) => Array.from(values, (value) => (Number.isNaN(value) ? null : value));
  const left = residual ? none(flux.map((value, j) => (value - residual.flux[j]) / noise[j])) : flux.map(() => null);
  view.plots.forEach((plot) => plot.destroy());
  const curve = (name, stroke, width, dash = []) => ({ label: name, stroke, width, dash, points: { show: false }, gaps: chipGaps });
  const fitted = shown.map((model) => curve(model.name, color(`k${1 + models.indexOf(model)}`), 1.4, view.dashes[models.indexOf(model) % view.dashes.length]));
  const unit = data.spectra.has_wavelengths ? "vacuum wavelength [Å]" : "pixel";
  const options = (place, series, xTitle, yTitle, more = {}) => ({
    width: place.clientWidth, height: place.clientHeight, legend: { show: false },
    cursor: { sync: { key: "spectrum", setSeries: false, scales: ["x", null] }, points: { show: false }, y: false, drag: { x: true, y: false, setScale: false, dist: 5 } },
    scales: { x: { time: false, range: () => view.range }, y: { range: (_, low, high) => (low === null ? [0, 1] : closer([low, high], low === high ? 1.5 : 1.08)) } },
    axes: [axis(xTitle, xTitle ? 28 : 14), { ...axis(yTitle, 52), space: 18 }],
    series,
    hooks: { drawClear: [drawMasks], setSelect: [pulled], setCursor: [readOut], ...more },
  });
  const [top, below] = [byId("flux"), byId("residual")];
  below.hidden = residual === null;
  const observed = none(flux);
  const reference = curve("observed", color("ink"), 1);
  view.plots = [new uPlot(options(top, [{}, reference, ...fitted], residual ? "" : unit, "flux / continuum", { draw: [drawLines] }), [wavelength, observed, ...shown.map((model) => none(model.flux))], top)];
  if (residual) {
    const words = `(obs. − ${residual.name}) / σ`;
    view.plots.push(new uPlot(options(below, [{}, curve(words, color(`k${1 + models.indexOf(residual)}`), 1)], unit, "residual / σ", { draw: [drawZero] }), [wavelength, left], below));
  }
  showRange();
  byId("readout").textContent = residual ? `Below: observed − ${residual.name}, in units of the noise σ.` : "";
  for (const plot of view.plots) {
    plot.over.addEventListener("dblclick", () => look(all));
    plot.over.addEventListener("mousedown", () => top.focus({ preventScroll: true }));
  }
}

// What is looked at first: some hundred pixels in the middle, of which one sees each, or all where there are not many more.
function atFirst() {
  const [n, most] = [wavelength.length, 600];
  const first = n > 2 * most ? Math.floor((n - most) / 2) : 0;
  return [wavelength[first], wavelength[n - 1 - first]];
}

// Switches of the curves.
function showCurves(models) {
  const swatch = (name, dash) => {
    const line = element("i");
    line.style.borderTopColor = color(name);
    line.style.borderTopStyle = dash.length > 0 ? "dashed" : "solid";
    return line;
  };
  const parts = [element("span", {}, swatch("ink", []), " observed")];
  models.forEach((model, i) => {
    const box = element("input", { type: "checkbox", checked: !view.hidden.has(model.name), value: model.name });
    box.addEventListener("change", () => {
      view.hidden[box.checked ? "delete" : "add"](model.name);
      showSpectrum();
    });
    parts.push(element("label", {}, box, swatch(`k${1 + i}`, view.dashes[i % view.dashes.length]), ` ${model.name}`));
  });
  const without = data.models.filter((name) => !models.some((model) => model.name === name));
  if (without.length > 0) parts.push(element("span", { className: "without", textContent: `no best fit here: ${without.join(", ")}` }));
  byId("curves").replaceChildren(...parts);
}

function chipGaps(plot, series, from, to, gaps) {
  for (const [start] of data.spectra.chips.slice(1)) {
    if (start > from && start <= to) gaps.push([start - 1, start].map((j) => Math.round(plot.valToPos(wavelength[j], "x", true))));
  }
  return gaps.sort((a, b) => a[0] - b[0]);
}

function drawMasks(plot) {
  const { ctx, bbox } = plot;
  const { noise } = view.spectrum;
  ctx.save();
  ctx.fillStyle = color("mask");
  const position = (j) => Math.min(Math.max(plot.valToPos(edge(j), "x", true), bbox.left), bbox.left + bbox.width);
  for (let j = 0; j < noise.length; j++) {
    if (!Number.isNaN(noise[j])) continue;
    const first = j;
    while (j + 1 < noise.length && Number.isNaN(noise[j + 1])) j++;
    const [from, to] = [position(first), position(j + 1)];
    if (to > from) ctx.fillRect(from, bbox.top, Math.max(to - from, 1), bbox.height);
  }
  ctx.restore();
}

// Where a pixel begins: half-way to the one before.
function edge(j) {
  const n = wavelength.length;
  if (j <= 0) return n > 1 ? 1.5 * wavelength[0] - 0.5 * wavelength[1] : wavelength[0] - 0.5;
  if (j >= n) return n > 1 ? 1.5 * wavelength[n - 1] - 0.5 * wavelength[n - 2] : wavelength[n - 1] + 0.5;
  return 0.5 * (wavelength[j - 1] + wavelength[j]);
}

function drawZero(plot) {
  const { ctx, bbox } = plot;
  const top = plot.valToPos(0, "y", true);
  ctx.save();
  ctx.strokeStyle = color("faint");
  ctx.beginPath();
  ctx.moveTo(bbox.left, top);
  ctx.lineTo(bbox.left + bbox.width, top);
  ctx.stroke();
  ctx.restore();
}

// Known lines, the strongest first, as many as have room for their names.
function drawLines(plot) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const [from, to] = view.range;
  const lines = data.spectra.lines.filter(([at]) => at >= from && at <= to).sort((a, b) => b[2] - a[2]);
  const heads = data.spectra.heads.filter(([at]) => at >= from && at <= to);
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  const taken = [];
  for (const [at, name] of [...heads, ...lines]) {
    const left = plot.valToPos(at, "x", true);
    const half = 0.5 * ctx.measureText(name).width + 4 * ratio;
    if (left - half < bbox.left || left + half > bbox.left + bbox.width || taken.some(([a, b]) => left + half > a && left - half < b)) continue;
    taken.push([left - half, left + half]);
    ctx.fillStyle = color("page");
    ctx.globalAlpha = 0.75;
    ctx.fillRect(left - half, bbox.top, 2 * half, 14 * ratio);
    ctx.globalAlpha = 1;
    ctx.fillStyle = ctx.strokeStyle = color("faint");
    ctx.fillText(name, left, bbox.top + 2 * ratio);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top + 15 * ratio);
    ctx.lineTo(left, bbox.top + 24 * ratio);
    ctx.stroke();
  }
  ctx.restore();
}

function pulled(plot) {
  const { left, width } = plot.select;
  if (width < 3) return;
  const range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  look(range);
}

// Looks at some wavelengths, within those there are, never closer than some pixels.
function look([from, to]) {
  const [first, last] = [wavelength[0], wavelength[wavelength.length - 1]];
  const least = (8 * (last - first)) / wavelength.length;
  if (to - from < least) [from, to] = closer([from, to], least / Math.max(to - from, 1e-12));
  const width = Math.min(to - from, last - first);
  const start = Math.min(Math.max(from, first), last - width);
  view.range = [start, start + width];
  for (const plot of view.plots) plot.setScale("x", { min: view.range[0], max: view.range[1] });
  showRange();
}

function showRange() {
  const unit = data.spectra.has_wavelengths ? " Å" : "";
  byId("range").textContent = `${view.range.map((at) => at.toFixed(1)).join(" to ")}${unit}`;
}

const MOVES = {
  left: ([from, to]) => [from - 0.3 * (to - from), to - 0.3 * (to - from)],
  right: ([from, to]) => [from + 0.3 * (to - from), to + 0.3 * (to - from)],
  in: (range) => closer(range, 0.5),
  out: (range) => closer(range, 2),
  all: () => [-Infinity, Infinity],
};

function move(name) {
  look(name === "all" ? [wavelength[0], wavelength[wavelength.length - 1]] : MOVES[name](view.range));
}

function readOut(plot) {
  const j = plot.cursor.idx;
  if (j === null || j === undefined || plot.cursor.left < 0 || !view.spectrum) return;
  const { flux, noise, models } = view.spectrum;
  const words = [data.spectra.has_wavelengths ? `${wavelength[j].toFixed(2)} Å` : `pixel ${j}`];
  words.push(Number.isNaN(noise[j]) ? "masked" : `observed ${flux[j].toFixed(4)} ± ${noise[j].toFixed(4)}`);
  for (const model of models) {
    if (view.hidden.has(model.name) || Number.isNaN(model.flux[j])) continue;
    const left = (flux[j] - model.flux[j]) / noise[j];
    words.push(`${model.name} ${model.flux[j].toFixed(4)}${Number.isNaN(left) ? "" : ` (${left >= 0 ? "+" : ""}${left.toFixed(1)} σ)`}`);
  }
  const near = data.spectra.lines.filter(([at]) => Math.abs(at - wavelength[j]) < 1).map(([at, name]) => `${name} ${at.toFixed(2)}`);
  byId("readout").textContent = [...words, ...near].join(" · ");
}

function setUpStar() {
  byId("close").addEventListener("click", closeStar);
  const step = (by) => {
    const at = table.order.indexOf(state.star);
    const next = table.order[at < 0 ? 0 : at + by];
    if (next !== undefined) openStar(next, true);
  };
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "in", ArrowDown: "out", "+": "in", "=": "in", "-": "out", 0: "all" };
  const place = byId("flux");
  place.setAttribute("role", "application");
  place.setAttribute("aria-label", "Spectrum. Left and right arrows move along it, plus and minus zoom, 0 shows all of it.");
  place.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    move(keys[event.key]);
    event.preventDefault();
  });
  const wheel = (event) => {
    if (document.activeElement !== place || view.plots.length === 0) return;
    event.preventDefault();
    const about = view.plots[0].posToVal(event.clientX - view.plots[0].over.getBoundingClientRect().left, "x");
    if (event.shiftKey) move((event.deltaY || event.deltaX) > 0 ? "right" : "left");
    else look(closer(view.range, event.deltaY < 0 ? 0.75 : 1.33, about));
  };
  for (const id of ["flux", "residual"]) byId(id).addEventListener("wheel", wheel, { passive: false });
  new ResizeObserver(() => {
    view.plots.forEach((plot, i) => {
      const box = byId(i === 0 ? "flux" : "residual");
      if (box.clientWidth > 0) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    });
  }).observe(place);
  whenChanged((changed) => {
    if (state.star === null) return;
    if (changed.has("model") && view.spectrum) showSpectrum();
  });
}
