// The page put together.
const choose = (select, names, chosen) => {
  select.replaceChildren(...names.map((name, i) => element("option", { value: i, textContent: name })));
  select.value = chosen;
};

function describeKiel() {
  const [teff, logg] = ["teff", "logg"].map((name) => data.labels.find((label) => label.name === name));
  const isKiel = teff && logg;
  const [first, second] = isKiel ? [teff, logg] : data.labels;
  if (!second) {
    const snr = column("snr");
    return snr && estimates(first) && { x: snr, y: estimates(first), title: "Estimates along S/N", xTitle: "S/N per pixel", yTitle: titled(first) };
  }
  if (!estimates(first) || !estimates(second)) return null;
  return {
    x: estimates(first), y: estimates(second), xDown: isKiel, yDown: isKiel,
    title: isKiel ? "Kiel diagram" : "Two labels", xTitle: titled(first), yTitle: titled(second),
  };
}

function describeOneToOne() {
  const { label } = state;
  const [x, y] = [references(label), estimates(label)];
  if (!x || !y) return null;
  const both = home([...x, ...y]);
  return {
    x, y, xHome: both, yHome: both, title: `${label.title}, one to one`, xTitle: `${state.reference}, ${titled(label)}`, yTitle: data.models[state.model],
    guides: [[[both[0], both[0]], [both[1], both[1]], false]],
  };
}

// What the differences may be held against.
function alongs() {
  const along = (title, values) => ({ title, values });
  return [
    along("S/N per pixel", column("snr")),
    along("reduced χ²", column(`chi2.${state.model}`)),
    along("fraction masked", column("masked")),
    ...data.labels.map((label) => along(`${state.reference}, ${titled(label)}`, references(label))),
  ].filter(({ values }) => values);
}

const wide = (values) => home(values, [0]);

function describeDifference() {
  const { label } = state;
  const [y, all] = [differences(label), alongs()];
  if (all.length === 0) return null;
  const { title, values: x } = all[Math.min(Number(byId("along").value || 0), all.length - 1)];
  const xHome = home(x);
  // Stars that no catalogue tells of have estimates alone.
  if (!y) return estimates(label) && { x, y: estimates(label), xHome, title: `${label.title} along`, xTitle: title, yTitle: titled(label) };
  const far = 1e3;
  const guides = [[[xHome[0] - far * (xHome[1] - xHome[0]), 0], [xHome[1] + far * (xHome[1] - xHome[0]), 0], false]];
  return { x, y, xHome, yHome: wide(y), title: `Δ ${label.title} along`, xTitle: title, yTitle: `estimate − ${state.reference}`, guides };
}

function describeErrors() {
  const { label } = state;
  const [x, y] = [errors(label), differences(label)];
  if (!x) return null;
  const snr = column("snr");
  if (!y) return snr && { x: snr, y: x, yHome: home(x, [0]), title: `Error of ${label.title} along S/N`, xTitle: "S/N per pixel", yTitle: titled(label) };
  const xHome = home(x, [0]);
  const end = 1e3 * xHome[1];
  const guides = [[[0, 0], [end, 0], false], ...[1, -1, 2, -2].map((times) => [[0, 0], [end, times * end], Math.abs(times) === 2])];
  const words = isCalibrated(label) ? "calibrated error" : "formal error";
  return { x, y, xHome, yHome: wide(y), title: `Δ ${label.title} beside its error; lines at 1 and 2 of it`, xTitle: `${words}, ${titled(label)}`, yTitle: `estimate − ${state.reference}`, guides };
}

// Which spectra are here, in words; counted.
function spectraWords() {
  const n = data.spectra.observed.filter(Boolean).length;
  if (n === nStars) return `Spectra of all ${n} stars are here.`;
  return `Spectra of ${n} of ${nStars} stars are here. A star without a good pixel has none; of the others ${data.spectra.rule}.`;
}

function setUpWords() {
  document.title = `${data.title}: every star`;
  byId("title").textContent = data.title;
  const shown = nStars < data.n_all ? `${nStars} of ${data.n_all} stars, as many as a page bears (all are in the table beside it)` : `${nStars} stars`;
  const models = data.models.length === 1 ? `labelled by ${data.models[0]}` : `labelled by ${data.models.length} models`;
  byId("summary").textContent = `${shown}, ${models}. ${data.spectra ? spectraWords() : ""}`;
  data.links.forEach(([words, address], i) => {
    byId("links").append(i > 0 ? " · " : "", element("a", { href: addressOf(address), textContent: words }));
  });
  const paragraphs = [
    "Discs are stars without remark, crosses stars with flags, triangles stars beyond the diagram. Drag over a diagram to select stars: the other diagrams and the table follow. Click a star, here or in the table, to see it.",
    "Keys: arrows go from star to star in a diagram, along the spectrum, or through the table; Enter opens a star; + and − zoom, 0 shows all again; Escape lets go of the selection, then of the star; / searches. The wheel zooms the diagram or spectrum that was clicked last, and with Shift moves along the spectrum. A double click shows all again.",
    "The filter takes words (of identifiers, flags, verdicts) and comparisons of the table's columns, such as teff<4500 d_teff>100: all must be so. Hold the pointer over a column's head to see its name.",
    "Δ is estimate − reference. Errors are calibrated where the run calibrated them, else formal.",
  ];
  if (data.spectra) {
    paragraphs.push(
      "Flux is kept to a tenth of its noise, the noise itself to 1.6%; a best fit to a twentieth of the noise. Grey bands are masked pixels. Lines are named by strength, as far as there is room: zoom in for more." +
        (data.spectra.lines.length === 0 ? " No line of the list lies in this range." : ""),
    );
  }
  byId("about").replaceChildren(...paragraphs.map((text) => element("p", { textContent: text })));
}

function setUpControls() {
  choose(byId("model"), data.models, state.model);
  choose(byId("label"), data.labels.map((label) => label.title), 0);
  const known = ["catalogue", "truth"].filter((name) => data.labels.some((label) => column(`${name}.${label.name}`)));
  if (!known.includes(state.reference)) state.reference = known[0] ?? "catalogue";
  byId("reference").replaceChildren(...known.map((name) => element("option", { value: name, textContent: name })));
  byId("reference").parentElement.hidden = known.length < 2;
  byId("label").parentElement.hidden = data.labels.length < 2;
  byId("model").parentElement.hidden = data.models.length < 2;
  byId("model").addEventListener("change", () => change({ model: Number(byId("model").value) }));
  byId("label").addEventListener("change", () => change({ label: data.labels[byId("label").value] }));
  byId("reference").addEventListener("change", () => change({ reference: byId("reference").value }));
  for (const radio of document.querySelectorAll("[name=drag]")) radio.addEventListener("change", () => change({ drag: radio.value }));
  byId("clear").addEventListener("click", letGo);
  const search = byId("search");
  search.addEventListener("input", () => {
    const found = searched(search.value).slice(0, 20);
    byId("found").replaceChildren(...found.map((star) => element("option", { value: data.ids[star] })));
    const exact = data.ids.indexOf(search.value.trim());
    if (exact >= 0) openStar(exact, true);
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [first] = searched(search.value);
    if (first === undefined) byId("count").textContent = `no star ${search.value}`;
    else openStar(first, true);
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = ["INPUT", "SELECT"].includes(document.activeElement?.tagName);
    if (event.key === "/" && !isTyping) {
      search.focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (hasSelection()) letGo();
      else if (state.star !== null) closeStar();
      showTip(null);
    }
  });
}

function searched(text) {
  const word = text.trim().toLowerCase();
  if (word === "") return [];
  const rank = (id) => (id === word ? 0 : id.startsWith(word) ? 1 : 2);
  const found = [];
  data.ids.forEach((id, star) => id.toLowerCase().includes(word) && found.push(star));
  return found.sort((a, b) => rank(data.ids[a].toLowerCase()) - rank(data.ids[b].toLowerCase()));
}

function letGo() {
  byId("filter").value = "";
  byId("filter-words").textContent = "";
  change({ brushed: null, filtered: null });
}

function setUpPanels() {
  const figures = [...document.querySelectorAll("#panels figure")];
  const made = [describeKiel, describeOneToOne, describeDifference, describeErrors].map((describe, i) => new Panel(figures[i], describe));
  const along = element("select", { id: "along", ariaLabel: "what the differences are shown along" });
  made[2].caption.insertBefore(along, made[2].more);
  const fill = () => choose(along, alongs().map(({ title }) => title), along.value || 0);
  fill();
  along.addEventListener("change", () => made[2].build());
  made.forEach((panel) => panel.build());
  whenChanged((changed) => {
    const isRebuilt = ["model", "label", "reference"].some((key) => changed.has(key));
    if (isRebuilt) {
      fill();
      made.forEach((panel) => panel.build());
    } else if (changed.has("brushed") || changed.has("filtered")) {
      made.forEach((panel) => panel.plot?.redraw(false, false));
    } else if (changed.has("star") || changed.has("hovered")) {
      made.forEach((panel) => panel.ring());
    }
    if (changed.has("hovered") && state.hovered === null) showTip(null);
    if (changed.has("brushed") || changed.has("filtered")) {
      const n = data.ids.reduce((n, _, star) => n + isSelected(star), 0);
      byId("count").textContent = hasSelection() ? `${n} of ${nStars} stars selected` : "";
      byId("clear").disabled = !hasSelection();
    }
  });
  // Colours are those of the page, which may go dark.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    made.forEach((panel) => panel.build());
    if (view.spectrum) showSpectrum();
  });
}

// The star that the address names; -1 for none.
function addressed() {
  try {
    return data.ids.indexOf(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return -1;
  }
}

// The star that the address names, or else the one farthest from its catalogue.
async function openFirst() {
  const named = addressed();
  if (named >= 0) return openStar(named, true);
  const known = data.spectra ? data.spectra.observed.map(Boolean) : data.ids.map(() => false);
  const of = differences(state.label) ?? column(`chi2.${state.model}`) ?? [];
  let [found, farthest] = [null, -1];
  of.forEach((difference, star) => {
    if (known[star] && Math.abs(difference) > farthest) [found, farthest] = [star, Math.abs(difference)];
  });
  return found === null ? showStar() : openStar(found);
}

async function begin() {
  if (typeof DecompressionStream === "undefined") {
    byId("summary").textContent = "This page needs a browser of 2023 or later: Chrome 80, Firefox 113 or Safari 16.4.";
    return;
  }
  await readColumns();
  setUpWords();
  setUpControls();
  setUpPanels();
  setUpTable();
  setUpStar();
  addEventListener("hashchange", () => {
    const star = addressed();
    if (star >= 0 && star !== state.star) openStar(star, true);
  });
  await openFirst();
  document.documentElement.dataset.ready = "";
}

begin();
