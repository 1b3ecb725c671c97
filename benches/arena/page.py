"""The arena's page: one file that asks for nothing from any server; figures, tables and what they say."""

from html import escape

#: Labels and their units as tables head them; others by their own name, in dex.
LABELS = {"teff": "Teff, K", "logg": "log g", "fe_h": "[Fe/H]", "m_h": "[M/H]", "mg_fe": "[Mg/Fe]", "si_fe": "[Si/Fe]"}

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d5d9de; --ours: #0b6bcb; --theirs: #b35900 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #15181b; --line: #3a4046; --ours: #6cb2ff; --theirs: #f0a35e } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem; max-width: 62rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
th:first-child, td:first-child { white-space: normal; min-width: 9rem }
td.words { text-align: left; white-space: normal; min-width: 16rem } tr.ours td:first-child { color: var(--ours); font-weight: 600 }
svg { width: 100%; max-width: 30rem; height: auto } svg text { fill: var(--ink); font: 12px system-ui, sans-serif }
.axis { stroke: var(--line) }
svg .ours { stroke: var(--ours); color: var(--ours) }
svg .theirs { stroke: var(--theirs); color: var(--theirs) }
summary { cursor: pointer; padding: .4rem 0 }
"""


def label_name(name):
    """A label as tables head it."""
    return LABELS.get(name, name)


def digits(value):
    """A number with the digits that count; a dash for none."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:.0f}" if size >= 20 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def between(interval):
    """An interval in words."""
    return f"{digits(interval[0])} to {digits(interval[1])}"


def with_interval(value, interval):
    """A number and its interval."""
    return f"{digits(value)} ({between(interval)})"


def about(results):
    """How it was measured, in a paragraph that goes with every table."""
    told = results["about"]
    commit = {"maury": f" (commit {told['maury_commit']})"} if told["maury_commit"] else {}
    versions = ", ".join(f"{name} {number}{commit.get(name, '')}" for name, number in sorted(told["versions"].items()))
    return (
        f"Scatter, in brackets robust scatter (1.4826 MAD), of estimates on stars that did not train, each label in units of its own "
        f"standard deviation among these stars, mean over labels: 1 is knowing nothing. In bold the least scatter and what is not told "
        f"apart from it (95%, paired bootstrap of the stars). "
        f"{told['date']}; {told['machine']}; {versions}. Times are CPU seconds of processes on one thread, all folds together, "
        f"on a machine that others used (median load {told['median_load']:.1f}); maury's hold what its calibrated errors cost. "
        f"All processes together took {told['cpu_s'] / 60:.0f} CPU minutes."
    )


def table(heads, rows):
    """An HTML table; a row is its class and its cells, which are HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    cell_of = lambda cell: cell if cell.startswith("<td") else f"<td>{cell}</td>"
    body = "".join(f'<tr class="{kind}">{"".join(map(cell_of, cells))}</tr>' for kind, cells in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def kind_of(key):
    """Class of a contender's row and marks."""
    return "ours" if key.startswith("maury_models.") else "theirs"


def figure(view, names, title):
    """Relative scatter with its interval, and robust scatter, of all contenders; SVG by hand."""
    order = sorted(view["contenders"], key=lambda key: view["contenders"][key]["relative_scatter"])
    intervals = [view["contenders"][key]["relative_scatter_interval"] for key in order]
    # The worst may be beyond all measure; those say how far with an arrow.
    most = min(max(high for _, high in intervals), 2.5 * sorted(high for _, high in intervals)[len(order) // 2])
    # Names stand above their marks, so that both are legible on a phone.
    left, width, step = 10, 320, 34
    height = step * len(order) + 40
    x = lambda value: left + width * min(value, most) / most
    marks = [f'<svg viewBox="0 0 {left + width + 30} {height}" role="img" aria-label="{escape(title)}">']
    for tick in range(5):
        value = most * tick / 4
        marks.append(f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" y2="{height - 34}"/>')
        marks.append(f'<text x="{x(value):.1f}" y="{height - 20}" text-anchor="middle">{value:.2f}</text>')
    marks.append(f'<text x="{left + width / 2}" y="{height - 4}" text-anchor="middle">scatter / spread of the labels</text>')
    for row, (key, (low, high)) in enumerate(zip(order, intervals)):
        y, one = step * row + 28, view["contenders"][key]
        value, robust = one["relative_scatter"], one["relative_robust_scatter"]
        told = f"{names[key]}: {with_interval(value, (low, high))}, robust {digits(robust)}"
        marks.append(f'<g class="{kind_of(key)}"><title>{escape(told)}</title>')
        marks.append(f'<text x="{left}" y="{y - 9}" stroke="none">{escape(names[key])}</text>')
        marks.append(f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke-width="2"/>')
        if value > most:
            marks.append(f'<text x="{x(most):.1f}" y="{y - 9}" text-anchor="end" stroke="none">{digits(value)} &#8594;</text>')
        else:
            marks.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="4" fill="currentColor"/>')
        marks.append(f'<circle cx="{x(robust):.1f}" cy="{y}" r="4" fill="var(--paper)" stroke-width="1.5"/></g>')
    return "".join(marks) + "</svg>"


def accuracy(view, labels, names):
    """The table of scatters."""
    heads = ["scatter (robust)", "all labels", "95%", *map(label_name, labels), "stars without labels"]
    rows = []
    for key, one in sorted(view["contenders"].items(), key=lambda item: item[1]["relative_scatter"]):
        pairs = [f"{digits(a)} ({digits(b)})" for a, b in zip(one["scatter"], one["robust_scatter"])]
        whole = f"{digits(one['relative_scatter'])} ({digits(one['relative_robust_scatter'])})"
        cells = [escape(names[key]), whole, between(one["relative_scatter_interval"]), *pairs, str(one["n_without_labels"])]
        rows.append((kind_of(key), cells))
    rows.append(("", ["the labels' own spread", "1", "", *map(digits, view["spread"]), ""]))
    return table(heads, rows)


def trust(view, labels, names):
    """The table of bias, slope and what errors are worth."""
    heads = [""]
    for name in labels:
        heads += [f"{label_name(name)}: bias", "slope", "pull width (robust)", "within 1, 1.96 errors"]
    rows = []
    for key, one in view["contenders"].items():
        cells = [escape(names[key])]
        for k in range(len(labels)):
            cells += [f"{digits(one['bias'][k])} &#177; {digits(one['bias_error'][k])}", digits(one["slope"][k])]
            errors = one["errors"]
            known = errors and errors["n_errors"][k]
            cells.append(f"{digits(errors['pull_width'][k])} ({digits(errors['robust_pull_width'][k])})" if known else "-")
            cells.append(f"{errors['coverage_68'][k]:.0%}, {errors['coverage_95'][k]:.0%}" if known else "-")
        rows.append((kind_of(key), cells))
    return table(heads, rows)


def cost(found, names):
    """The table of times, memory, settings and what was cut or failed."""
    heads = ["CPU seconds", "tuning", "training", "labelling", "peak MB", "settings taken", "remarks"]
    rows = []
    for key in names:
        one = found["costs"].get(key, {})
        if "train_cpu_s" not in one:
            why = f"did not run: {one['error']}" if "error" in one else "not measured in this run"
            why = f"does not enter: {one['refusal']}" if "refusal" in one else why
            rows.append((kind_of(key), [escape(names[key]), "-", "-", "-", "-", "", f'<td class="words">{escape(why)}</td>']))
            continue
        settings = []
        for chosen in one["chosen"]:
            said = ", ".join(f"{name} {value}" for name, value in chosen.items()) or "its own"
            settings += [said] if said not in settings else []
        seconds = [f"{one[f'{step}_cpu_s']:.2f}" for step in ("tune", "train", "label")]
        remark = one["caps"] + (f" ({one['n_folds']} of {found['n_folds']} folds)" if one["n_folds"] < found["n_folds"] else "")
        wide = [f'<td class="words">{escape(text)}</td>' for text in ("; ".join(settings), remark)]
        rows.append((kind_of(key), [escape(names[key]), *seconds, f"{one['peak_memory_mb']:.0f}", *wide]))
    return table(heads, rows)


def html(results):
    """The whole page."""
    names, parts = results["contenders"], []
    for found in results["sets"].values():
        sizes = f"{found['n_train']} train, {found['n_test']} tested"
        folds = f" in {found['n_folds']} folds" if found["n_folds"] > 1 else ""
        labels = ", ".join(map(label_name, found["labels"]))
        parts.append(f"<h2>{escape(found['title'])}</h2><p>{sizes}{folds}; {found['n_pixels']} pixels; labels {labels}.</p>")
        for title, view in found["views"].items():
            parts.append(f"<h3>{escape(title[0].upper() + title[1:])}: {view['n_stars']} stars</h3>")
            parts += [f"<p>{escape(said)}</p>" for said in view["words"]]
            parts.append(figure(view, names, f"{found['title']}, {title}"))
            parts.append(f"<details open><summary>Scatter of each label</summary>{accuracy(view, found['labels'], names)}</details>")
            parts.append(f"<details><summary>Bias, slope, and errors</summary>{trust(view, found['labels'], names)}</details>")
        parts.append(f"<details><summary>Cost and settings</summary>{cost(found, names)}</details>")
    intro = (
        "<p>Every contender gets the same prepared spectra of the same stars, learns from the same training stars, and labels stars it "
        "has not seen. Filled marks are the scatter with its 95% interval, open ones the robust scatter; blue is maury.</p>"
        "<p>Settings are those of each one's own documentation and one round of tuning: of those it lists, the ones with the least robust "
        "scatter on a quarter of the training stars, which then all train; test stars choose nothing. The best of many is the best partly "
        "by chance. A slope of 1 is an estimate that follows its label in full; it is lowered by noise of the label itself. A pull "
        "is (estimate - label) / error, its width 1, and 68% and 95% of the stars within 1 and 1.96 errors, where the errors quoted are "
        "true and labels exact, which those of a catalogue are not.</p>"
    )
    body = f"<h1>The arena</h1>{intro}<p>{escape(about(results))}</p>{''.join(parts)}"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'<!doctype html><html lang="en"><head>{head}<title>The arena</title><style>{STYLE}</style></head><body>{body}</body></html>\n'
