"""Claim: a few complementary shadows recognise as many members as 64 of the textbook attack.

Compares, on targets trained on half of a pool of Adult records: the textbook likelihood ratio
(LiRA, online, a variance for each record; Carlini et al., 2022) with 64 shadows, the same with
moderated variances, and the pair ratio with 2 and 8 shadows. Prints AUC, the share of members
identified at 1 % and 0.1 % false alarms with 95 % intervals over all targets' records, and
trainings.

Usage: python benchmarks/confidentiality/membership.py ADULT_CSV [--shadows 64] [--targets 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import norm

from crenel.adapters import wrap
from crenel.check import Context
from crenel.confidentiality.encoding import encoder
from crenel.confidentiality.likelihood import likelihood_ratio, logit, pair_ratio
from crenel.confidentiality.roc import operating_point
from crenel.statistics import auc
from crenel.training.shadows import complementary_pairs, train_shadows

POOL = 6_000


def load(path: Path, seed: int):
    """Encoded features and labels of a random pool of records."""
    import pandas as pd

    frame = pd.read_csv(path, header=None, skipinitialspace=True, na_values="?", comment="|")
    frame = frame.dropna(subset=[14]).sample(POOL, random_state=seed).reset_index(drop=True)
    y = frame.pop(14).str.startswith(">").to_numpy(dtype=np.int64)
    return np.nan_to_num(encoder(frame)(frame), nan=-1.0), y


def families():
    """The models that are attacked, by name."""
    from sklearn.ensemble import RandomForestClassifier

    made = {"random forest": RandomForestClassifier(100)}
    try:
        from lightgbm import LGBMClassifier

        made["LightGBM"] = LGBMClassifier(verbose=-1)
    except ImportError:
        print("LightGBM is not installed: left out", file=sys.stderr)
    return made


def textbook(target, shadows, inside):
    """LiRA as published: mean and variance of each record's own shadows in both worlds."""
    worlds = []
    for mask in (inside, ~inside):
        count = mask.sum(axis=0)
        centre = np.where(mask, shadows, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(mask, (shadows - centre) ** 2, 0).sum(axis=0) / count) + 1e-30
        worlds.append(norm.logpdf(target, centre, spread))
    return worlds[0] - worlds[1]


def compare(name, estimator, x, y, shadows, targets):
    """Print one line for each attack on one family of models."""
    context = Context("benchmark", seed=0)
    fit = wrap(estimator.fit(x[:200], y[:200])).fit
    inside = complementary_pairs(y, shadows // 2 + targets, context.rng("halves"))
    begun = time.perf_counter()
    trained = train_shadows(fit, x, y, inside, context)
    each = (time.perf_counter() - begun) / len(inside)
    # The last pairs are not used as shadows: one of each is a target.
    whole = trained.take(np.arange(shadows))
    attacks = {
        f"LiRA textbook, {shadows}": (textbook, shadows, True),
        f"LiRA moderated, {shadows}": (likelihood_ratio, shadows, True),
        "LiRA moderated, 8": (likelihood_ratio, 8, True),
        "pair ratio, 2": (pair_ratio, 2, False),
        "pair ratio, 8": (pair_ratio, 8, False),
    }
    for title, (score, r, in_logits) in attacks.items():
        members, others = [], []
        for t in range(targets):
            k = shadows + 2 * t
            used = whole.take(np.arange(r))
            p, own = trained.p[k], trained.inside[k]
            change = logit if in_logits else np.asarray
            found = score(change(p), change(used.p), used.inside)
            members.append(found[own])
            others.append(found[~own])
        m, o = np.concatenate(members), np.concatenate(others)
        points = [operating_point(m, o, rate).identified for rate in (0.01, 0.001)]
        print(
            f"{name:14s} {title:20s} trainings {r:3d} ({r * each:6.1f} s)  AUC {auc(m, o)}"
            f"  at 1 % {points[0]}  at 0.1 % {points[1]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adult", type=Path)
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--targets", type=int, default=2)
    given = parser.parse_args()
    if not given.adult.exists():
        print(f"{given.adult} is not here: nothing is measured", file=sys.stderr)
        return
    x, y = load(given.adult, 0)
    for name, estimator in families().items():
        compare(name, estimator, x, y, given.shadows, given.targets)


if __name__ == "__main__":
    main()
