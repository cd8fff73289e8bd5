"""Runs of a few numbers, written and published in a moment."""

import numpy as np
import xarray as xr

from storage.staging import Layout

SIZES = {"account": 4, "block": 2, "instrument": 2, "scenario": 3, "layer": 1, "measure": 1}
LAYOUT = Layout(
    SIZES,
    {"account": 2, "block": 1, "instrument": 2},
    {"instrument": ["a", "b"], "scenario": ["x", "y", "z"], "layer": ["base"], "measure": ["m"]},
)
TEXTS = np.array(["a", "bcd", "ü€"], dtype=object)


def small(number):
    """The small groups of a run, with texts in the three forms that numpy has for them."""
    dataset = xr.Dataset(
        {
            "loss": ("scenario", np.full(3, float(number)), {"units": "USD"}),
            "name": ("top", TEXTS.astype(str)),
            "none": ("nobody", np.array([], dtype=object)),
        },
        coords={"scenario": ["x", "y", "z"], "label": ("scenario", TEXTS)},
    )
    return dict.fromkeys(("folds", "scenarios", "market", "instruments"), dataset)


def stage(store, name, number=1.0):
    staged = store.stage(name, LAYOUT, f"key of {name}")
    fork = staged.fork()
    fork.write("cube", {"pnl": np.full((2, 3), float(number))}, 0)
    for start in (0, 2):
        layer = {"margin": np.full((2, 1), float(number)), "status": np.zeros(2, np.int8)}
        fork.write("accounts", layer, start)
    staged.checkpoint([fork], "all")
    return staged


def manifest(name, number=1.0, created="2026-01-01T00:00:00+00:00"):
    inputs = {"book": {"name": "small", "digest": "of nothing"}}
    return {"run_id": name, "created": created, "number": number, "inputs": inputs}


def publish(store, name, number=1.0, **about):
    store.publish(name, stage(store, name, number), small(number), manifest(name, number, **about))
