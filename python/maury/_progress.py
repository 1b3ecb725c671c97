"""How far work is, by tqdm: a bar in a terminal or a notebook, nothing elsewhere."""

import sys
import time


class Bar:
    """What the native half calls now and then with a task's name, its steps and those done.

    Parameters
    ----------
    progress : bool or None
        Whether to draw bars; None for a terminal or a notebook only.
    """

    # A task that is over sooner needs no bar.
    PATIENCE_S = 1.0

    def __init__(self, progress=None):
        in_notebook = "ipykernel" in sys.modules
        self._draws = progress if progress is not None else in_notebook or sys.stderr.isatty()
        self._bar = None
        self._began = 0.0

    def __call__(self, task, total, done, is_new):
        if not self._draws:
            return
        if is_new:
            self.close()
            self._began = time.monotonic()
        if self._bar is None and done < total and time.monotonic() - self._began > self.PATIENCE_S:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=task, leave=False)
        if self._bar is not None:
            self._bar.update(min(done, total) - self._bar.n)

    def close(self):
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
