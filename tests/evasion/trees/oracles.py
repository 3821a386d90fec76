"""Slow, independent answers: thresholds from the libraries' own dumps, every cell asked."""

from itertools import product

import numpy as np


def thresholds(model, width):
    """The distinct thresholds of each column, by the library's own public dump."""
    library = type(model).__module__.split(".")[0]
    found = [set() for _ in range(width)]
    if library == "xgboost":
        frame = model.get_booster().trees_to_dataframe()
        for name, split in zip(frame["Feature"], frame["Split"]):
            if name != "Leaf":
                found[int(name[1:])].add(split)
    elif library == "lightgbm":
        frame = model.booster_.trees_to_dataframe()
        for name, split in zip(frame["split_feature"], frame["threshold"]):
            if isinstance(name, str):
                found[int(name.split("_")[1])].add(float(split))
    elif hasattr(model, "_predictors"):
        for stage in model._predictors:
            for predictor in stage:
                for node in predictor.nodes:
                    if not node["is_leaf"]:
                        found[node["feature_idx"]].add(node["num_threshold"])
    else:
        members = np.ravel(getattr(model, "estimators_", [model]))
        for member in members:
            for column, split in zip(member.tree_.feature, member.tree_.threshold):
                if column >= 0:
                    found[column].add(split)
    return [sorted(values) for values in found]


def candidates(values, own, dtype, low, high):
    """The own value and, for each threshold, the numbers around it."""
    if np.isnan(own) or low == high:
        return np.array([own], dtype=dtype)
    out = [dtype(own)]
    for value in values:
        near = dtype(value)
        out += [near, np.nextafter(near, dtype(-np.inf)), np.nextafter(near, dtype(np.inf))]
    out = np.array(out, dtype=dtype)
    return out[(out >= low) & (out <= high) & np.isfinite(out)]


def nearest(model, row, label, norm=np.inf, low=None, high=None, scale=None, splits=None):
    """Least distance at which the model's own predict changes, by trying every combination."""
    width = len(row)
    low = np.full(width, -np.inf) if low is None else low
    high = np.full(width, np.inf) if high is None else high
    scale = np.ones(width) if scale is None else scale
    columns = [
        np.unique(candidates(t, row[f], row.dtype.type, low[f], high[f]))
        for f, t in enumerate(thresholds(model, width) if splits is None else splits)
    ]
    grid = np.array(list(product(*columns)), dtype=row.dtype)
    flipped = grid[model.predict(grid) != model.classes_[label]]
    if not len(flipped):
        return np.inf
    step = np.abs(flipped.astype(float) - row.astype(float)) / scale
    return np.linalg.norm(np.nan_to_num(step), ord=norm, axis=1).min()
