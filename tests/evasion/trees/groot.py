"""Trees that the GROOT study published, with its data and its exact adversarial accuracies."""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold

from crenel.evasion.trees.ensemble import Growing, at_most

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
FOLDER = SHARED / "13_groot_trees"
METHODS = {"sklearn": "Natural", "chen": "Chen et al.", "treant": "TREANT", "groot": "GROOT"}


def columns_of(name):
    """Rows and labels of a data set, prepared as the study did."""
    folder = FOLDER / "data"
    if name == "spambase":
        file = SHARED / "05_spambase" / "spambase.csv"
        text = np.loadtxt(file, delimiter=",", skiprows=1, dtype=str)
        return text[:, :-1].astype(float), (text[:, -1] == "spam").astype(int)
    if name == "breast-cancer":
        x, y = load_breast_cancer(return_X_y=True)
        return x, 1 - y
    if name == "wine":
        parts = [
            np.loadtxt(folder / f"winequality-{c}.csv", delimiter=",") for c in ("red", "white")
        ]
        table = np.concatenate(parts)
        return table[:, :-1], (table[:, -1] < 6).astype(int)
    files = {
        "diabetes": "pima-indians-diabetes",
        "banknote-authentication": "banknote_authentication",
    }
    text = np.loadtxt(folder / f"{files.get(name, name)}.csv", delimiter=",", dtype=str)
    labels = {"g": "0", "b": "1", "R": "0", "M": "1"}
    return text[:, :-1].astype(float), np.array([int(labels.get(v, v)) for v in text[:, -1]])


def fold(name, number):
    """Test rows and labels of one fold."""
    x, y = columns_of(name)
    split = StratifiedKFold(5, shuffle=True, random_state=1).split(x, y)
    rows = list(split)[number][1]
    return x[rows], y[rows]


def ensemble(method, name, number):
    """One published tree as a `TreeEnsemble` of two classes."""
    text = (FOLDER / "trees" / f"{method}_{name}_fold_{number}.json").read_text()
    nodes, links = [], {}

    def visit(node):
        here = len(nodes)
        nodes.append(node)
        if "leaf" not in node:
            children = {child["nodeid"]: child for child in node["children"]}
            links[here] = visit(children[node["yes"]]), visit(children[node["no"]])
        return here

    growing = Growing()
    for root in json.loads(text):
        nodes.clear()
        links.clear()
        visit(root)
        value = np.array([[0.5, node.get("leaf", 0)] for node in nodes])
        growing.add(
            feature=np.array([node.get("split", -1) for node in nodes]),
            # The study read its trees with thresholds rounded to six digits.
            threshold=at_most(
                np.array([round(float(node.get("split_condition", 0.0)), 6) for node in nodes])
            ),
            left=np.array([links.get(i, (-1, -1))[0] for i in range(len(nodes))]),
            right=np.array([links.get(i, (-1, -1))[1] for i in range(len(nodes))]),
            missing_left=np.zeros(len(nodes), dtype=bool),
            value=value,
        )
    return growing.freeze(np.zeros(2))


@cache
def published():
    """(model, data set, fold, metric) to the published figure."""
    with (FOLDER / "json_results.csv").open() as lines:
        return {
            (r["Model"], r["Dataset"], int(r["Fold"]), r["Metric"]): float(r["Score"])
            for r in csv.DictReader(lines)
        }
