"""Times of the steps of one process and its peak memory, written as JSON for run.py."""

import contextlib
import json
import platform
import resource
import time


def cpu_seconds():
    """User and system seconds of this process, all threads, and of the children it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_memory_mb():
    """Largest resident memory of this process in units of 10^6 bytes; NaN where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            # Unlike ru_maxrss it does not count what the parent held before the program was loaded.
            return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return float("nan")


class Measurement:
    """Collects the steps of a process."""

    def __init__(self):
        self.steps = {}
        self.facts = {}

    @contextlib.contextmanager
    def step(self, name, share=1.0):
        """Times a step. `share` is the fraction of the whole work it did; times are divided by it, and it is kept."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        yield
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        self.steps[name] = {"wall_s": wall / share, "cpu_s": cpu / share, "share": share}

    def write(self, path, modules=()):
        """Writes everything; versions of Python and the given modules included."""
        versions = {"python": platform.python_version()}
        versions |= {module.__name__: getattr(module, "__version__", "?") for module in modules}
        content = {
            "steps": self.steps,
            "facts": self.facts,
            "versions": versions,
            "peak_memory_mb": peak_memory_mb(),
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
