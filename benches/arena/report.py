"""Judges what run.py measured: results.json, arena.html, and the table for docs/peers.md.

    python report.py --measured target/arena/measured.json --out FOLDER [--chapter docs/peers.md]
"""

import argparse
import functools
import json
import pathlib

import numpy as np

import contender  # noqa: F401 - puts the peers on the path
import children
import page
import scores
from stars import StarSet

#: What one contender is told from another by; the first is that of docs/peers.md.
MEASURES = ("relative_scatter", "relative_robust_scatter")
STEPS = ("tune", "train", "label")
#: Share of the stars that the best of all may have left without labels.
MOST_MISSING = 0.01


def plain(value):
    """Arrays and numbers as JSON has them, four digits that count."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def costs(found):
    """CPU seconds and memory of one contender on one set, all folds together, and with which settings."""
    if "error" in found:
        return {"error": found["error"][:300]}
    if "refusal" in found["facts"]:
        return {"refusal": found["facts"]["refusal"]}
    seconds = {f"{step}_cpu_s": sum(s["cpu_s"] for name, s in found["steps"].items() if name.split("-")[0] == step) for step in STEPS}
    return {**seconds, "peak_memory_mb": found["peak_memory_mb"], "load": found["load"], **found["facts"]}


class View:
    """All contenders' estimates of the stars that count, and what they are held against."""

    def __init__(self, rows, labels, estimates):
        self.labels = labels[rows]
        self.estimates = {key: (found[rows], errors[rows]) for key, (found, errors) in estimates.items()}
        self.bootstrap = scores.Bootstrap(len(self.labels))
        self.draws, self.judged = {}, {}
        for key, (found, errors) in self.estimates.items():
            asked = np.isfinite(found).any(axis=1)
            self.judged[key], self.draws[key] = scores.judge(found, errors, self.labels, self.bootstrap)
            self.judged[key]["n_labelled"] = int(asked.sum())

    def is_whole(self, key):
        """Whether a contender labelled the stars, but for a few."""
        return self.judged[key]["n_without_labels"] <= MOST_MISSING * len(self.labels)

    @functools.cache
    def on_common_stars(self, one, other):
        """Resamples of both, on the stars that both labelled."""
        if not self.judged[one]["n_without_labels"] and not self.judged[other]["n_without_labels"]:
            return self.draws[one], self.draws[other]
        both = np.isfinite(self.estimates[one][0] + self.estimates[other][0]).all(axis=1)
        draws = []
        for key in (one, other):
            off = np.where(both[:, None], self.estimates[key][0] - self.labels, np.nan)
            found = self.bootstrap.scatters(off)
            draws.append(found | {f"relative_{name}": scores.relative(values, self.labels)[:, None] for name, values in found.items()})
        return draws

    def behind(self, one, other, measure):
        """Interval by which `one` scatters more than `other`, for each label or for all as one."""
        ours, theirs = self.on_common_stars(one, other)
        return scores.difference(ours[measure], theirs[measure])

    def verdict(self, measure):
        """Who scatters least, who is not told apart from it, and how maury's best stands to the others' best."""
        # One that leaves many stars out is not the best of all.
        whole = [key for key in self.judged if self.is_whole(key)] or list(self.judged)
        order = sorted(whole, key=lambda key: self.judged[key][measure])
        best = order[0]
        gaps = {key: self.behind(key, best, measure)[0] for key in self.judged if key != best}
        found = {"best": best, "gaps": gaps, "not_told_apart": [key for key, gap in gaps.items() if gap[0] <= 0]}
        ours, theirs = ([key for key in order if is_ours(key) == flag] for flag in (True, False))
        if ours and theirs:
            found |= {"ours": ours[0], "theirs": theirs[0], "ours_behind": self.behind(ours[0], theirs[0], measure)[0]}
        return found

    def labels_lost(self, measure):
        """Labels in which somebody else scatters less than the best of maury's, by more than chance: label, ours, theirs, interval."""
        whole = [key for key in self.judged if self.is_whole(key)]
        ours, theirs = ([key for key in whole if is_ours(key) == flag] for flag in (True, False))
        lost = []
        for k in range(self.labels.shape[1]) if ours and theirs else ():
            best = lambda keys: min(keys, key=lambda key: self.judged[key][measure][k])
            one, other = best(ours), best(theirs)
            gap = self.behind(one, other, measure)[k]
            if gap[0] > 0:
                lost.append({"label": k, "ours": one, "theirs": other, "behind": gap})
        return lost


def is_ours(key):
    """Whether a contender is of maury's."""
    return key.startswith("maury_models.")


def judged_set(path, name, found):
    """All numbers of one set of stars."""
    stars = StarSet.load(path)
    folder = path.parent.parent / "results" / name
    costs_of = {key: costs(one) for key, one in found.items()}
    estimates = {}
    for key, cost in costs_of.items():
        if "train_cpu_s" in cost:
            with np.load(folder / f"{key}.npz") as arrays:
                estimates[key] = arrays["estimates"], arrays["errors"]
    views = {}
    for title, rows, labels in stars.views() if estimates else ():
        view = View(rows, labels, estimates)
        views[title] = {
            "n_stars": int(rows.sum()),
            "spread": np.nanstd(labels[rows], axis=0),
            "contenders": view.judged,
            "verdicts": {measure: view.verdict(measure) for measure in MEASURES},
            "lost": {measure: view.labels_lost(measure) for measure in scores.SCATTERS},
        }
    n_folds = int(stars.fold.max()) + 1
    taught = [int((stars.fold != fold).sum()) for fold in range(n_folds)]
    sizes = {"n_train": min(taught), "n_test": int((stars.fold >= 0).sum()), "n_folds": n_folds, "n_pixels": stars.flux.shape[1]}
    return {"title": stars.title, "labels": stars.names, **sizes, "costs": costs_of, "views": views}


def words(view, found, names):
    """What a view of a set says, in sentences, every number of this run."""
    label, contenders = found["labels"], view["contenders"]
    number = lambda key, measure: page.with_interval(contenders[key][measure], contenders[key][f"{measure}_interval"])
    # A best of a part is called that.
    part = " of those run" if any(is_ours(key) and key not in found["costs"] for key in names) else ""
    said = []
    for measure, how in zip(MEASURES, ("scatter", "robust scatter")):
        verdict = view["verdicts"][measure]
        best = verdict["best"]
        text = f"The least {how} has {names[best]}: {number(best, measure)} of the labels' own spread, of {len(contenders)} contenders."
        alike = [names[key] for key in sorted(verdict["not_told_apart"], key=lambda key: contenders[key][measure])]
        text += f" Not told apart from it (95%): {'; '.join(alike) if alike else 'nobody'}."
        if "ours" in verdict and best != verdict["ours"]:
            gap = verdict["ours_behind"]
            word = "loses" if gap[0] > 0 else "is behind by less than its interval"
            text += f" maury {word}: its best{part}, {names[verdict['ours']]}, has {number(verdict['ours'], measure)}, "
            text += f"more by {page.between(gap)}."
        elif "theirs" in verdict:
            gap = [-verdict["ours_behind"][1], -verdict["ours_behind"][0]]
            text += f" The best of the others, {names[verdict['theirs']]}, has {number(verdict['theirs'], measure)}, more by "
            text += f"{page.between(gap)}."
        said.append(text)
    for measure, how in zip(scores.SCATTERS, ("scatter", "robust scatter")):
        lost = view["lost"][measure]
        parts = [
            f"{page.label_name(label[one['label']])} ({names[one['theirs']]} "
            f"{page.digits(contenders[one['theirs']][measure][one['label']])}, {names[one['ours']]} "
            f"{page.digits(contenders[one['ours']][measure][one['label']])})"
            for one in lost
        ]
        said.append(f"Label by label, maury's best{part} loses in {how} beyond the interval of the difference in: {'; '.join(parts) or 'none'}.")
    return said


def table(results):
    """The table of docs/peers.md: scatter, and robust scatter in brackets, of all labels in units of their spread; Markdown."""
    sets, names = results["sets"], results["contenders"]
    sets = {name: found for name, found in sets.items() if found["views"]}
    first = {name: next(iter(found["views"].values())) for name, found in sets.items()}
    best = {name: view["verdicts"][MEASURES[0]] for name, view in first.items()}
    if not sets:
        return "Nothing was measured."
    last = list(sets.values())[-1]["title"]
    lines = ["| | " + " | ".join(found["title"] for found in sets.values()) + f" | CPU s, {last} |", "|---|" + "---|" * (len(sets) + 1)]
    heads = [f"{found['n_train']} train, {view['n_stars']} tested" for found, view in zip(sets.values(), first.values())]
    lines.append("| | " + " | ".join(heads) + " | train + label |")
    without = [found["title"] for found in results["sets"].values() if not found["views"]]
    for key, name in names.items():
        cells, seconds = [], []
        for set_name, found in sets.items():
            cost, one = found["costs"].get(key), first[set_name]["contenders"].get(key)
            if one is None:
                cells.append("not run" if cost is None else "failed" if "error" in cost else "-")
                continue
            cell = f"{one[MEASURES[0]]:.3f} ({one[MEASURES[1]]:.3f})"
            if one["n_without_labels"]:
                cell += f", {one['n_labelled']} stars"
            verdict = best[set_name]
            cells.append(f"**{cell}**" if key == verdict["best"] or key in verdict["not_told_apart"] else cell)
            if set_name == list(sets)[-1]:
                seconds = [f"{cost['train_cpu_s']:.1f} + {cost['label_cpu_s']:.1f}"]
        if set(cells) == {"not run"}:
            without.append(name)
        else:
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {''.join(seconds)} |")
    return "\n".join(lines) + (f"\n\nNot run: {'; '.join(without)}." if without else "")


def write(path, out, chapter=None):
    """Judges what stands in a file of run.py's, and writes results.json, arena.html and, between its marks in a chapter, the table."""
    measured = json.loads(path.read_text(encoding="utf-8"))
    names, sets, versions = measured["names"], {}, {}
    for name, stars in measured["sets"].items():
        found = measured["results"][name]
        sets[name] = plain(judged_set(pathlib.Path(stars), name, found))
        for one in found.values():
            # Contenders that run with another Python do not hide the version of the others' NumPy.
            versions = {**one.get("versions", {}), **versions}
        for view in sets[name]["views"].values():
            view["words"] = words(view, sets[name], names)
    ran = [one for found in measured["results"].values() for one in found.values()]
    seconds = sum(one["process"]["cpu_s"] for one in ran if "process" in one)
    about = {**measured["about"], "versions": versions, "median_load": float(np.median([one["load"] for one in ran])), "cpu_s": seconds}
    results = plain({"about": about, "contenders": names, "sets": sets})
    (out / "results.json").write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    (out / "arena.html").write_text(page.html(results), encoding="utf-8")
    text = f"{table(results)}\n\n{page.about(results)}"
    verdicts = [f"- {found['title']}: {next(iter(found['views'].values()))['words'][0]}" for found in sets.values() if found["views"]]
    text += "\n\n" + "\n".join(verdicts)
    print(text)
    if chapter:
        children.write_between(chapter, "arena", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", required=True, type=pathlib.Path, help="what run.py gathered")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder for results.json and arena.html")
    parser.add_argument("--chapter", type=pathlib.Path, help="file in which the table stands between its marks")
    arguments = parser.parse_args()
    write(arguments.measured, arguments.out, arguments.chapter)


if __name__ == "__main__":
    main()
