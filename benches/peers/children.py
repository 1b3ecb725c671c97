"""Processes that these benches and those of the arena measure, the Python they run in, and where results are put."""

import os
import resource
import subprocess
import sys
import time

# No NumPy here: a child's peak memory, as the system counts it, starts at its parent's.


def environment(threads):
    """The variables by which BLAS and maury's pool are told their threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


def run(command, threads=1, limit_s=None, **options):
    """Runs a process to its end: its wall_s, cpu_s and peak_memory_mb.

    `limit_s` is in CPU seconds. A process that fails is a RuntimeError with the last line that it complained in.
    """
    limited = limit_s and (lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s)))
    start = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        options = {"env": environment(threads), **options}
        child = subprocess.Popen(
            [str(word) for word in command], stdout=nowhere, stderr=subprocess.PIPE, preexec_fn=limited, **options
        )
        complaints = child.stderr.read().decode(errors="replace").strip().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    if child.returncode < 0 and limit_s and cpu > 0.99 * limit_s:
        raise RuntimeError(f"stopped after {limit_s} CPU seconds")
    if child.returncode:
        raise RuntimeError(complaints[-1] if complaints else f"exit {child.returncode}")
    return {"wall_s": time.perf_counter() - start, "cpu_s": cpu, "peak_memory_mb": usage.ru_maxrss * 1024 / 1e6}


def own_environment(folder, requirements, python=sys.executable):
    """The Python of a virtual environment with what a file requires, made if it is not there."""
    own = folder / "bin" / "python"
    if not own.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run([own, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return own


def write_between(path, name, text):
    """Puts text between the marks `<!-- name -->` and `<!-- end of name -->` of a file."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
