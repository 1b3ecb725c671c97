"""Holds a folder of event files against what TensorBoard itself reads from them: python3 tests/check_tensorboard.py FOLDER [TAG...]

Loads every value of every tag and prints what it found. The reader's warnings are errors, except that a descent was taken up
again. Tags beyond those that every descent writes, such as "bias/teff [K]", are asked for by name. Needs `tensorboard`;
pictures are decoded where `pillow` is there.
"""

import io
import logging
import sys
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.data_compat import migrate_event
from tensorboard.dataclass_compat import migrate_event as classify_event
from tensorboard.util.tensor_util import make_ndarray

REQUIRED = {"loss/train", "learning_rate", "gradient_norm", "seconds_per_epoch"}
PNG = b"\x89PNG\r\n\x1a\n"


class Warnings(logging.Handler):
    """Keeps what the reader complains about."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())


def one_by_one(tag, events):
    steps = [event.step for event in events]
    assert steps and all(a < b for a, b in zip(steps, steps[1:])), f"{tag}: steps {steps}"
    return f"{tag}: {len(steps)} at steps {steps[0]} to {steps[-1]}"


def check_histogram(tag, histogram):
    limits, counts = np.array(histogram.bucket_limit), np.array(histogram.bucket)
    assert len(limits) == len(counts) > 0 and np.isfinite(limits).all(), tag
    assert (np.diff(limits) > 0).all() and (counts >= 0).all() and counts.sum() == histogram.num > 0, tag
    assert histogram.min <= limits[0] and limits[-1] == histogram.max, tag
    # The sum must lie between those of values at the lower and at the upper ends of their buckets.
    lower = np.concatenate([[histogram.min], limits[:-1]])
    slack = 1e-9 * np.abs(np.concatenate([lower, limits])).max() * histogram.num
    assert (counts * lower).sum() - slack <= histogram.sum <= (counts * limits).sum() + slack, tag


def check_image(tag, event):
    data = event.encoded_image_string
    assert data.startswith(PNG), tag
    size = tuple(int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert size == (event.width, event.height) and min(size) > 0, (tag, size, event.width, event.height)
    try:
        from PIL import Image
    except ImportError:
        return f"{size[0]} x {size[1]}, not decoded: no pillow"
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (*size[::-1], 3) and pixels.std() > 0, tag
    return f"{size[0]} x {size[1]}"


def check_as_shown(folder):
    """As TensorBoard converts old kinds of values before it shows them."""
    n_values = 0
    for path in sorted(Path(folder).glob("*tfevents*")):
        known = {}
        for event in LegacyEventFileLoader(str(path)).Load():
            for shown in classify_event(migrate_event(event), known):
                for value in shown.summary.value:
                    assert value.metadata.plugin_data.plugin_name or value.tag in known, value.tag
                    assert make_ndarray(value.tensor).size > 0, value.tag
                    n_values += 1
    return n_values


def main(folder, *tags):
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    found = EventAccumulator(folder, size_guidance=dict.fromkeys(["scalars", "images", "histograms", "tensors"], 0))
    found.Reload()
    kinds = found.Tags()
    asked = REQUIRED | set(tags)
    known = {tag for kind in ("scalars", "images", "histograms", "tensors") for tag in kinds[kind]}
    assert asked <= known, f"missing {sorted(asked - known)}; there are {sorted(known)}"
    for tag in kinds["scalars"]:
        events = found.Scalars(tag)
        values = np.array([event.value for event in events])
        assert np.isfinite(values).all(), tag
        print(f"scalar {one_by_one(tag, events)}, {values[0]:.4g} to {values[-1]:.4g}")
    for tag in kinds["histograms"]:
        events = found.Histograms(tag)
        for event in events:
            check_histogram(tag, event.histogram_value)
        print(f"histogram {one_by_one(tag, events)}, {events[-1].histogram_value.num:.0f} values")
    for tag in kinds["images"]:
        events = found.Images(tag)
        sizes = {check_image(tag, event) for event in events}
        print(f"image {one_by_one(tag, events)}, {', '.join(sorted(sizes))}")
    for tag in kinds["tensors"]:
        events = found.Tensors(tag)
        assert found.SummaryMetadata(tag).plugin_data.plugin_name == "text", tag
        words = make_ndarray(events[-1].tensor_proto).item().decode()
        print(f"text {one_by_one(tag, events)}, {len(words)} characters")
    n_values = check_as_shown(folder)
    restarts = [words for words in warnings.found if "Purging expired events" in words]
    assert len(restarts) == len(warnings.found), warnings.found
    print(f"{n_values} values in all, as TensorBoard wants them; taken up again {len(restarts)} times")


if __name__ == "__main__":
    main(*sys.argv[1:])
