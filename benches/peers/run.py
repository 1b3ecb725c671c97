"""Times maury and its peers on the same work, checks that their results agree, prints the table, writes results.json.

    python3 benches/peers/run.py                          # makes its own environment in target/peers; about 20 minutes
    python3 benches/peers/run.py --every 20 --repeats 1   # a part of the slow peers' work, scaled up

Every measurement is a process of its own. The processes take turns, and the smallest of the repeats counts: what else
the machine does can only add. Needs Python 3.9 or newer, and maury built with `cargo build --release`.
"""

import argparse
import dataclasses
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import children

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
LABELS = 'labels=["teff","logg","fe_h","mg_fe","si_fe"]'


#: Whose time the others of a group are divided by.
BASELINES = {
    "run": "run-maury-f32-1",
    "train": "run-maury-f32-1",
    "fit": "run-maury-f32-1",
    "continuum": "continuum-maury",
    "read": "prepare-maury",
    "prepare": "prepare-maury",
}


@dataclasses.dataclass
class Task:
    """One process to measure. The key's first part is the group: train, fit, continuum, read or prepare."""

    key: str
    who: str
    threads: int
    command: list
    #: Where the process writes its times; None for maury, whose run folder holds them.
    out: pathlib.Path = None
    #: Folder of maury's experiments, emptied before each repeat.
    experiments: pathlib.Path = None


def all_tasks(options, python, work, reference):
    """What is to be measured, maury and peers side by side."""
    cores, saved = os.cpu_count() or 1, work / "saved"
    pixels = PROJECT / "assets" / "continuum_pixels.csv"
    data = ["--arrays", options.arrays, "--run", reference]
    every = ["--every", str(options.every)]
    threads_tried = (1, cores) if options.all_cores and cores > 1 else (1,)

    def peer(key, who, script, arguments, threads=1, save=".npz"):
        out, results = work / f"{key}.json", saved / f"{key}{save}"
        command = [python, HERE / script, *arguments, "--out", out, "--save", results]
        return Task(key, who, threads, command, out)

    tasks = []
    for precision, threads in itertools.product(("f32", "f64"), threads_tried):
        experiments = work / f"arrays-{precision}-{threads}"
        settings = ["--set", f"device.precision={precision}", "--set", f"device.threads={threads}"]
        command = [*maury_on_arrays(options, experiments), *settings]
        tasks.append(Task(f"run-maury-{precision}-{threads}", f"maury, {precision}", threads, command, None, experiments))
    for verb, methods in {
        "train": {"grid": "NumPy, 30 values of s2, then Newton", "alternating": "NumPy, maury's algorithm without its proof"},
        "fit": {"batched": "NumPy, batched Levenberg-Marquardt", "compressed": "NumPy, maury's algorithm"},
    }.items():
        for method, who in methods.items():
            for dtype, threads in itertools.product(("float64", "float32"), threads_tried):
                arguments = [*data, "--job", f"{verb}-{method}", "--dtype", dtype]
                key = f"{verb}-{method}-{dtype}-{threads}"
                tasks.append(peer(key, f"{who}, {dtype}", "numpy_cannon.py", arguments, threads))
    for method in ("least_squares", "curve_fit"):
        arguments = [*data, "--job", f"fit-{method}", *every]
        tasks.append(peer(f"fit-{method}", f"scipy {method}, star by star", "numpy_cannon.py", arguments))
    for code, who in (("casey", "annieslasso 0.2.96"), ("ho", "TheCannon 0.7.3")):
        for job in ("train", "fit"):
            arguments = [*data, "--code", code, "--job", job, *every]
            tasks.append(peer(f"{job}-{code}", who, "published_cannons.py", arguments))
    experiments = saved / "continuum-maury"
    command = [*maury_on_arrays(options, experiments, raw=work / "raw"), "--set", "device.threads=1"]
    tasks.append(Task("continuum-maury", "maury (and writes them)", 1, command, None, experiments))
    for method, who in (("chebfit", "numpy chebfit, star by star"), ("batched", "NumPy, batched")):
        arguments = ["--arrays", work / "raw", "--pixels", pixels, "--method", method]
        tasks.append(peer(f"continuum-{method}", who, "continuum.py", arguments))
    experiments = saved / "prepare-maury"
    command = [options.maury, "-q", "prepare", work / "survey.toml", "--experiments", experiments]
    tasks.append(Task("prepare-maury", "maury prepare, the whole process", 1, command, None, experiments))
    for reader, who in (("astropy", "astropy fits.open"), ("getdata", "astropy getdata"), ("fitsio", "fitsio")):
        arguments = ["--survey", options.survey, "--reader", reader]
        tasks.append(peer(f"read-{reader}", who, "reading.py", arguments))
        arguments += ["--prepare", "--pixels", pixels]
        tasks.append(peer(f"prepare-{reader}", f"{who}, numpy chebfit", "reading.py", arguments, save=".fits"))
    return chosen(tasks, options.only)


def chosen(tasks, words):
    """The tasks with one of these words in their key, and what these are compared with; all without a word."""
    keys = {task.key for task in tasks if not words or any(word in task.key for word in words)}
    keys |= {BASELINES[group] for group in {key.split("-")[0] for key in keys} & BASELINES.keys()}
    return [task for task in tasks if task.key in keys]


def maury_on_arrays(options, experiments, raw=None):
    """The command of an experiment on the arrays, or on the raw ones that need a continuum."""
    folder = raw or options.arrays
    files = {
        "flux": folder / ("raw_flux.npy" if raw else "flux.npy"),
        "error": folder / ("raw_error.npy" if raw else "error.npy"),
        "labels": options.arrays / "labels.csv",
        "wavelengths": options.arrays / "wavelengths.npy",
    }
    command = [options.maury, "-q", "run", PROJECT / "configs" / "arrays.toml", "--experiments", experiments]
    for name, path in files.items():
        command += ["--set", f"data.arrays.{name}={path}"]
    return [*command, "--set", LABELS, *(["--set", "continuum.method=chebyshev"] if raw else [])]


def measure(task):
    """Runs a process; its steps with wall_s, cpu_s, share, and `process` for all of it."""
    if task.experiments:
        shutil.rmtree(task.experiments, ignore_errors=True)
    process = children.run(task.command, task.threads)
    result = {"steps": {}, "facts": {}, "versions": {}, "peak_memory_mb": process["peak_memory_mb"]}
    if task.out:
        result = json.loads(task.out.read_text(encoding="utf-8"))
    elif "run" in task.command:
        metrics = json.loads((task.experiments / "arrays" / "latest" / "metrics.json").read_text(encoding="utf-8"))
        result["steps"] = {step: {**times, "share": 1.0} for step, times in metrics["timings"].items()}
    result["steps"]["process"] = {"wall_s": process["wall_s"], "cpu_s": process["cpu_s"], "share": 1.0}
    return result


def smallest(runs):
    """Of several repeats of one process the smallest times of every step, and the largest memory."""
    best = {**runs[-1], "peak_memory_mb": max(run["peak_memory_mb"] for run in runs), "n_repeats": len(runs)}
    least = lambda step, kind: min(run["steps"][step][kind] for run in runs)
    best["steps"] = {
        step: {"wall_s": least(step, "wall_s"), "cpu_s": least(step, "cpu_s"), "share": times["share"]}
        for step, times in runs[-1]["steps"].items()
    }
    return best


def table(results, agreement, sizes):
    """The rows of the report: work, who, threads, times, memory, ratio to maury, disagreement; Markdown."""
    groups = {
        "train": (f"Training, {sizes['n_train']} stars, 8575 pixels, 21 terms", "train"),
        "fit": (f"Labels of {sizes['n_test']} stars", "fit"),
        "continuum": (f"Continuum of {sizes['n_train'] + sizes['n_test']} stars", "prepare"),
        "read": (f"Reading {sizes['n_files']} apStar files", "process"),
        "prepare": (f"Reading, masking, normalizing, writing {sizes['n_files']}", "process"),
    }
    lines = ["| who | threads | CPU s | wall s | peak MB | CPU / maury's | largest difference |", "|---|---|---|---|---|---|---|"]
    for group, (title, maury_step) in groups.items():
        baseline = BASELINES[group]
        ours = [key for key in results if key.startswith("run-maury")] if group in ("train", "fit") else [baseline]
        keys = [*ours, *(key for key in results if key.split("-")[0] == group and key not in ours)]
        if baseline not in results or "error" in results[baseline]:
            continue
        base = results[baseline]["steps"][maury_step]["cpu_s"]
        lines.append(f"| **{title}** | | | | | | |")
        for key in keys:
            result = results[key]
            if "error" in result:
                lines.append(f"| {result['who']} | {result['threads']} | failed: {result['error'][:60]} | | | | |")
                continue
            step = result["steps"][maury_step if "maury" in key else group]
            part = "" if step["share"] == 1 else f" (from {step['share']:.1%})"
            lines.append(
                f"| {result['who']}{part} | {result['threads']} | {step['cpu_s']:.2f} | {step['wall_s']:.2f} "
                f"| {result['peak_memory_mb']:.0f} | {step['cpu_s'] / base:.1f} | {difference(key, result, agreement)} |"
            )
    return "\n".join(lines)


def difference(key, result, agreement):
    """What a row says of its results."""
    found, facts = agreement.get(key, {}), result["facts"]
    if "theta" in found:
        return f"theta {found['theta']:.1e}, s2 {found['s2']:.1e}"
    if "theta_against_direct_solution" in facts:
        return f"theta {facts['theta_against_direct_solution']:.1e} from its own optimum, s2 {found['s2']:.1e}"
    if "labels" in found:
        off = found["stars_beyond_a_tenth"]
        return f"{found['labels']:.1e} sigma" + (f", {off} stars by over 0.1" if off else "")
    if "flux" in found:
        return f"flux {found['flux']:.1e}, {found['masks_that_differ']} masks"
    return ""


def prepare_data(options, python, work):
    """Makes what is not there: arrays, raw arrays, a survey of copies; returns the run that peers are compared with."""
    if not (options.arrays / "flux.npy").exists():
        command = ["cargo", "run", "--release", "--example", "mock_arrays", "--", options.arrays, "1886"]
        subprocess.run([str(word) for word in command], check=True, cwd=PROJECT)
    (work / "raw").mkdir(exist_ok=True)
    if not (work / "raw" / "raw_flux.npy").exists():
        subprocess.run([python, HERE / "continuum.py", "--arrays", work / "raw", "--make", options.arrays], check=True)
    if options.survey is None:
        options.survey, options.catalogue = work / "survey", work / "survey" / "allStar.fits"
        shutil.rmtree(options.survey, ignore_errors=True)
        templates = options.template or sorted((PROJECT / "tests" / "data").glob("apStar-*.fits"))
        command = [python, HERE / "reading.py", "--survey", options.survey, "--make", str(options.files)]
        for template in templates:
            command += ["--template", template]
        subprocess.run(command, check=True)
    # Every star of the catalogue, as the peers read every file.
    text = f"{LABELS}\n[data.apstar]\ncatalogue = '{options.catalogue}'\nspectra = '{options.survey}'\n"
    text += "[selection]\nkeep_missing_labels = true\ndeduplicate = false\n[device]\nthreads = 1\n"
    (work / "survey.toml").write_text(text, encoding="utf-8")
    experiments = work / "reference"
    shutil.rmtree(experiments, ignore_errors=True)
    subprocess.run([*map(str, maury_on_arrays(options, experiments))], check=True, stdout=subprocess.DEVNULL)
    return (experiments / "arrays" / "latest").resolve()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = lambda text: pathlib.Path(text).resolve()
    parser.add_argument("--maury", type=path, default=PROJECT / "target" / "release" / "maury", help="the program")
    parser.add_argument("--commit", default="", help="the commit it was built from, for the record")
    parser.add_argument("--arrays", type=path, default=PROJECT / "mock-arrays", help="arrays; made if not there")
    parser.add_argument("--survey", type=path, help="folder of apStar files; else copies of real ones are made")
    parser.add_argument("--catalogue", type=path, help="the survey's allStar table")
    parser.add_argument("--template", type=path, action="append", help="apStar file to copy; may be given again")
    parser.add_argument("--files", type=int, default=400, help="copies to make")
    parser.add_argument("--work", type=path, default=PROJECT / "target" / "peers", help="scratch folder")
    parser.add_argument("--here", action="store_true", help="use this Python and what is installed in it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take every n-th pixel or star of the slow peers")
    parser.add_argument("--all-cores", action="store_true", help="also with all cores; only on a machine that is idle")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only measurements with one of these words in their key")
    parser.add_argument("--readme", action="store_true", help="put the table and results.json beside this file")
    options = parser.parse_args()
    if (options.survey is None) != (options.catalogue is None):
        parser.error("--survey and --catalogue go together")
    options.work.mkdir(parents=True, exist_ok=True)
    work = options.work
    shutil.rmtree(work / "saved", ignore_errors=True)
    (work / "saved").mkdir()
    # Somebody may build while this runs; all repeats must be of one program.
    options.maury = pathlib.Path(shutil.copy2(options.maury, work / "maury"))
    digest = hashlib.sha256(options.maury.read_bytes()).hexdigest()
    python = sys.executable if options.here else children.own_environment(work / "venv", HERE / "requirements.txt")
    reference = prepare_data(options, python, work)
    tasks = all_tasks(options, python, work, reference)
    runs, errors, loads = {task.key: [] for task in tasks}, {}, []
    for repeat in range(options.repeats):
        for task in tasks:
            if task.key in errors:
                continue
            loads.append(os.getloadavg()[0])
            try:
                runs[task.key].append(measure(task))
                times = runs[task.key][-1]["steps"]["process"]
                print(f"{repeat + 1}/{options.repeats} {task.key}: {times['cpu_s']:.1f} CPU-s", file=sys.stderr, flush=True)
            except (RuntimeError, OSError, ValueError) as err:
                errors[task.key] = str(err)
                print(f"{task.key} failed: {err}", file=sys.stderr, flush=True)
    results = {}
    for task in tasks:
        measured = {"error": errors[task.key]} if task.key in errors else smallest(runs[task.key])
        results[task.key] = {"who": task.who, "threads": task.threads, **measured}
    out = work / "agreement.json"
    command = [python, HERE / "agreement.py", "--arrays", options.arrays, "--run", reference]
    subprocess.run([*map(str, command), "--saved", str(work / "saved"), "--out", str(out)], check=True)
    agreement = json.loads(out.read_text(encoding="utf-8"))
    metrics = json.loads((reference / "metrics.json").read_text(encoding="utf-8"))["models"]["cannon"]
    sizes = {name: metrics[name] for name in ("n_train", "n_test")}
    sizes["n_files"] = sum(1 for pattern in ("apStar*.fits", "asStar*.fits") for _ in options.survey.rglob(pattern))
    versions = {name: number for result in results.values() for name, number in result.get("versions", {}).items()}
    versions["maury"] = subprocess.run([options.maury, "--version"], capture_output=True, text=True).stdout.split()[-1]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    load = f"{sorted(loads)[len(loads) // 2]:.1f}"
    date = datetime.date.today().isoformat()
    if hashlib.sha256(options.maury.read_bytes()).hexdigest() != digest:
        sys.exit(f"{options.maury} was changed while it was measured: these times are of two programs")
    if options.commit:
        versions["maury"] += f" (commit {options.commit})"
    named = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    text = f"{date}; {machine}; median load {load}; smallest of {options.repeats} repeats; {named}.\n\n"
    text += table(results, agreement, sizes)
    print(text)
    content = {"date": date, "machine": machine, "median_load": load, "versions": versions, "maury_sha256": digest}
    content["maury_commit"] = options.commit
    content |= {"sizes": sizes, "results": results, "agreement": agreement}
    target = HERE if options.readme else work
    (target / "results.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    if options.readme:
        children.write_between(HERE / "README.md", "results", text)


if __name__ == "__main__":
    main()
