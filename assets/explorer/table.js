// The table of the stars: sorted by any column, filtered by words and comparisons, page by page.
const PAGE_ROWS = 25;
const table = { order: [], page: 0, sort: null, isDown: true, row: 0 };

// Columns of the table: key for the filter, title, value of a star for sorting, text.
function tableColumns() {
  const made = [{ key: "id", title: "star", isWords: true, value: (star) => data.ids[star] }];
  const number = (key, title, values, unit = "", more = 0) => {
    if (values) made.push({ key, title, value: (star) => values[star], text: (star) => written(values[star], unit, more) });
  };
  number("snr", "S/N", column("snr"), "", -1);
  number("chi2", "χ²/dof", column(`chi2.${state.model}`), "", -1);
  const masked = column("masked");
  if (masked) made.push({ key: "masked", title: "masked", value: (star) => masked[star], text: (star) => `${(100 * masked[star]).toFixed(1)}%` });
  for (const label of data.labels) {
    number(label.name, titled(label), estimates(label), label.unit);
    const of = differences(label);
    if (of) made.push({ key: `d_${label.name}`, title: `Δ ${label.title}`, value: (star) => of[star], text: (star) => (Number.isNaN(of[star]) ? "–" : signed(of[star], label.unit)) });
  }
  made.push({ key: "flags", title: "flags", isWords: true, value: (star) => flagsOf(star).join(", ") });
  if (verdicts.size > 0) made.push({ key: "verdict", title: "judged", isWords: true, value: (star) => verdicts.get(star)?.verdict ?? "" });
  if (data.pathology) made.push({ key: "pathology", title: "planted", isWords: true, value: (star) => data.pathology[star] });
  return made;
}

const COMPARISON = /^([a-z_0-9]+)(<=|>=|<|>|=)(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?)$/i;

// The stars that a filter lets through, and what is wrong with it, if anything is.
function filtered(text) {
  const parts = text.trim().split(/\s+/).filter(Boolean);
  if (parts.length === 0) return { stars: null, wrong: "" };
  const known = tableColumns();
  const tests = [];
  for (const part of parts) {
    const [, key, sign, number] = COMPARISON.exec(part) ?? [];
    if (key) {
      const of = known.find((column) => column.key === key.toLowerCase() && !column.isWords);
      if (!of) return { stars: null, wrong: `no number ${key}; there are ${known.filter((column) => !column.isWords).map((column) => column.key).join(", ")}` };
      const compare = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b }[sign];
      tests.push((star) => compare(of.value(star), Number(number)));
    } else if (/[<>=]/.test(part)) {
      return { stars: null, wrong: `${part}: write a comparison without spaces, as snr>100` };
    } else {
      const word = part.toLowerCase();
      const words = known.filter((column) => column.isWords);
      tests.push((star) => words.some((column) => column.value(star).toLowerCase().includes(word)));
    }
  }
  const stars = new Set();
  for (let star = 0; star < nStars; star++) if (tests.every((test) => test(star))) stars.add(star);
  return { stars, wrong: "" };
}

function sortTable() {
  const of = tableColumns().find((column) => column.key === table.sort);
  const order = Array.from({ length: nStars }, (_, star) => star).filter(isSelected);
  if (of) {
    const values = order.map(of.value);
    const way = table.isDown ? -1 : 1;
    const rank = order.map((_, i) => i);
    // What is not known comes last, either way.
    const isNone = (value) => (typeof value === "string" ? value === "" : !Number.isFinite(value));
    rank.sort((a, b) => {
      const [first, second] = [values[a], values[b]];
      if (isNone(first) || isNone(second)) return isNone(first) - isNone(second);
      return way * (typeof first === "string" ? first.localeCompare(second) : first - second);
    });
    table.order = rank.map((i) => order[i]);
  } else {
    table.order = order;
  }
}

function showTable() {
  const shown = tableColumns();
  const nPages = Math.max(1, Math.ceil(table.order.length / PAGE_ROWS));
  table.page = Math.min(Math.max(table.page, 0), nPages - 1);
  const head = element("tr");
  for (const column of shown) {
    const isSorted = table.sort === column.key;
    const arrow = isSorted ? (table.isDown ? " ▾" : " ▴") : "";
    const button = element("button", { type: "button", textContent: column.title + arrow, title: `Sort by ${column.title}; in the filter: ${column.key}` });
    button.dataset.key = column.key;
    const cell = element("th", { className: column.isWords ? "w" : "", scope: "col" }, button);
    if (isSorted) cell.setAttribute("aria-sort", table.isDown ? "descending" : "ascending");
    head.append(cell);
  }
  byId("stars").tHead.replaceChildren(head);
  const first = table.page * PAGE_ROWS;
  const rows = table.order.slice(first, first + PAGE_ROWS).map((star, index) => {
    const cells = shown.map((column) => element("td", { className: column.isWords ? "w" : "", textContent: (column.text ?? column.value)(star) }));
    const row = element("tr", { tabIndex: index === Math.min(table.row, PAGE_ROWS - 1) ? 0 : -1 }, ...cells);
    row.dataset.star = star;
    row.setAttribute("aria-selected", star === state.star);
    return row;
  });
  byId("stars").tBodies[0].replaceChildren(...rows);
  byId("page-words").textContent =
    table.order.length === 0 ? "no star" : `${first + 1} to ${first + rows.length} of ${table.order.length} stars`;
  byId("page-before").disabled = table.page === 0;
  byId("page-next").disabled = table.page >= nPages - 1;
}

// Turns to the page on which a star is.
function turnTo(star) {
  const at = table.order.indexOf(star);
  if (at >= 0) [table.page, table.row] = [Math.floor(at / PAGE_ROWS), at % PAGE_ROWS];
}

function turn(pages) {
  table.page += pages;
  table.row = 0;
  showTable();
}

function setUpTable() {
  byId("filter").placeholder = "words, or snr>100";
  byId("filter").addEventListener("input", () => {
    const { stars, wrong } = filtered(byId("filter").value);
    byId("filter-words").textContent = wrong || (stars ? `${stars.size} of ${nStars} stars` : "");
    byId("filter-words").className = wrong ? "wrong" : "";
    change({ filtered: stars });
  });
  byId("page-before").addEventListener("click", () => turn(-1));
  byId("page-next").addEventListener("click", () => turn(1));
  byId("stars").tHead.addEventListener("click", (event) => {
    const key = event.target.closest("button")?.dataset.key;
    if (!key) return;
    [table.sort, table.isDown] = [key, table.sort === key ? !table.isDown : !["id", "flags"].includes(key)];
    table.page = 0;
    sortTable();
    showTable();
    byId("stars").tHead.querySelector(`[data-key="${key}"]`).focus();
  });
  const body = byId("stars").tBodies[0];
  const starOf = (event) => {
    const row = event.target.closest("tr");
    return row ? Number(row.dataset.star) : null;
  };
  body.addEventListener("click", (event) => {
    const star = starOf(event);
    if (star !== null) openStar(star, true);
  });
  body.addEventListener("mouseover", (event) => change({ hovered: starOf(event) }));
  body.addEventListener("mouseleave", () => change({ hovered: null }));
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
      if (next) {
        row.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
        change({ hovered: Number(next.dataset.star) });
      } else if ((step > 0 && !byId("page-next").disabled) || (step < 0 && table.page > 0)) {
        turn(step);
        body.rows[step > 0 ? 0 : body.rows.length - 1].focus();
      }
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      turn(event.key === "PageDown" ? 1 : -1);
      body.rows[0]?.focus();
    } else if (event.key === "Enter") openStar(Number(row.dataset.star), true);
    else return;
    event.preventDefault();
  });
  whenChanged((changed) => {
    const isRedrawn = ["model", "label", "reference", "brushed", "filtered"].some((key) => changed.has(key));
    if (isRedrawn) {
      sortTable();
      if (changed.has("brushed") || changed.has("filtered")) table.page = 0;
    }
    if (isRedrawn || changed.has("star")) showTable();
    if (changed.has("hovered")) for (const row of body.rows) row.classList.toggle("hovered", Number(row.dataset.star) === state.hovered);
  });
  sortTable();
  showTable();
}
