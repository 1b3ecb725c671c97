"""Sets maury's models beside what else there is, on the same stars, and writes results.json, arena.html and the tables.

    python3 benches/arena/run.py                     # makes its own environment in target/arena
    python3 benches/arena/run.py --only scikit_learn --sets lamost --show    # a part, and no file of the repository touched

Every contender meets every set of stars in a process of its own, on one thread. What was measured is kept in the scratch folder
and taken again as long as the contender's file and the stars are the same, so that a run that was broken off goes on, and a new
contender costs its own time; page and tables show all that is kept. Needs Python 3.12 for pollux, and maury's module (README, "Tests").
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
sys.path.append(str(HERE.parent / "peers"))

import children  # noqa: E402 - beside the peers

#: Sets of stars; the seeds of the mock surveys are of surveys that no setting was ever chosen on.
SETS = {"hipparcos": "hipparcos_100px", "lamost": "lamost", "miles": "miles", "mock-71": None, "mock-73": None}
#: Files of contenders in the order of their turns, which is that of their cost; others come after them.
TURNS = ("scikit_learn", "maury_models", "published", "pytorch", "pollux_models")


def contenders():
    """Keys of all contenders, told from their files' text: importing needs what each of them needs."""
    files = sorted((HERE / "contenders").glob("*.py"), key=lambda path: (TURNS.index(path.stem) if path.stem in TURNS else 99, path.stem))
    for path in files:
        name = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("class "):
                name = line.removeprefix("class ").split("(")[0]
            elif name and line.startswith("    name = "):
                yield f"{path.stem}.{name}", json.loads(line.removeprefix("    name = "))


def make_sets(options, python, environment):
    """Star sets as npz files, made where they are not there; those whose data are not beside the project are left out."""
    folder = options.work / "sets"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in options.sets:
        data = SETS[name] and PROJECT.parent / "shared" / "data" / SETS[name]
        if data and not data.exists():
            print(f"SKIPPED: real data {SETS[name]} not found beside the project (../shared/data)", file=sys.stderr)
            continue
        paths[name] = folder / (f"{name}-{options.stars}.npz" if data is None else f"{name}.npz")
        if not paths[name].exists():
            command = [python, HERE / "stars.py", "--make", name, "--stars", options.stars, "--out", paths[name]]
            command += ["--cache", options.work / "cache"]
            children.run(command, env=environment, cwd=PROJECT)
    return paths


def digest(*paths):
    """One word for the content of files."""
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def files(options, name, key):
    """Where the outcome of one contender on one set is kept, and what its process writes: times and estimates."""
    folder = options.work / "results" / name
    return folder / f"{key}.json", folder / f"{key}.measured.json", folder / f"{key}.npz"


def mark_of(stars, key):
    """Tells the contender's file, the stars and the rules of the contest."""
    return digest(stars, HERE / "contenders" / f"{key.split('.')[0]}.py", HERE / "contest.py", HERE / "contender.py")


def kept(options, name, stars, key):
    """What an earlier run found of one contender on one set; None if it has not met it as both are now."""
    path = files(options, name, key)[0]
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found if found.get("digest") == mark_of(stars, key) else None


def measure(options, python, environment, name, stars, key):
    """Lets one contender meet one set, and keeps what became of it."""
    path, out, estimates = files(options, name, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [python, HERE / "contest.py", "--set", stars, "--contender", key, "--out", out, "--save", estimates]
    found = {"digest": mark_of(stars, key), "load": os.getloadavg()[0]}
    try:
        process = children.run(command, limit_s=options.limit, env=environment)
        found |= {**json.loads(out.read_text(encoding="utf-8")), "process": process}
    except RuntimeError as err:
        # What is kept of it may be published; where the project lies on this machine is not.
        found["error"] = str(err).replace(str(options.work), "target/arena").replace(str(PROJECT), ".")
    path.write_text(json.dumps(found), encoding="utf-8")
    said = found.get("error") or found["facts"].get("refusal") or f"{found['process']['cpu_s']:.1f} CPU-s"
    print(f"{name} {key}: {said}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="measure only contenders with one of these words in their key")
    parser.add_argument("--stars", type=int, default=800, help="of a mock survey; half of them train")
    parser.add_argument("--limit", type=int, default=400, metavar="SECONDS", help="CPU time that one contender may take on one set")
    parser.add_argument("--again", action="store_true", help="measure again what was measured, or failed")
    parser.add_argument("--tables", action="store_true", help="measure nothing: judge what was measured, and write")
    parser.add_argument("--show", action="store_true", help="leave the tables in the scratch folder, not in the repository")
    path = lambda text: pathlib.Path(text).resolve()
    parser.add_argument("--work", type=path, default=PROJECT / "target" / "arena", help="scratch folder")
    parser.add_argument("--python", default=sys.executable, help="Python that the environment is made of")
    parser.add_argument("--here", action="store_true", help="use that Python as it is, with what is installed in it")
    another = "another Python for the contenders of a file"
    parser.add_argument("--with", action="append", default=[], metavar="FILE=PYTHON", dest="others", help=another)
    parser.add_argument("--commit", default="", help="the commit that maury's module was built from, for the record")
    options = parser.parse_args()
    module = PROJECT / "python" / "maury" / "_maury.abi3.so"
    if not module.exists():
        sys.exit(f"maury's module is not built: {module} is missing; README, \"Tests\", has the line that makes it")
    options.work.mkdir(parents=True, exist_ok=True)
    python = options.python if options.here else children.own_environment(options.work / "venv", HERE / "requirements.txt", options.python)
    others = dict(word.split("=", 1) for word in options.others)
    paths = [str(PROJECT / "python"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**children.environment(1), "PYTHONPATH": os.pathsep.join(paths), "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    sets = make_sets(options, python, environment)
    names = dict(contenders())
    for key in names:
        if options.tables or options.only and not any(word in key for word in options.only):
            continue
        for name, stars in sets.items():
            if options.again or kept(options, name, stars, key) is None:
                measure(options, others.get(key.split(".")[0], python), environment, name, stars, key)
    met = {name: {key: kept(options, name, stars, key) for key in names} for name, stars in sets.items()}
    results = {name: {key: found for key, found in part.items() if found} for name, part in met.items()}
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "maury_commit": options.commit,
        "maury_module_sha256": digest(module),
        "limit_s": options.limit,
    }
    gathered = options.work / "measured.json"
    parts = {"about": about, "names": names, "sets": {name: str(path) for name, path in sets.items()}, "results": results}
    gathered.write_text(json.dumps(parts), encoding="utf-8")
    command = [python, HERE / "report.py", "--measured", gathered, "--out", options.work if options.show else HERE]
    if not options.show:
        command += ["--chapter", PROJECT / "docs" / "peers.md"]
    subprocess.run([str(word) for word in command], check=True, env=environment)


if __name__ == "__main__":
    main()
