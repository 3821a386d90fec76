"""What it takes to nudge each learning algorithm: bursts, critical shares and broken samples.

Learners of River and scikit-learn on the Phishing stream that ships in the river package, from the
same honest past. Claims: large constant steps are turned by the fewest samples, and a tenth of the
step, or clipping, takes several times the burst; learners that average over all samples take the
longest bursts and hold against the largest shares, but heal slowest; honest samples in the place
of poison turn next to nothing; one NaN, infinite or huge sample destroys most learners for good.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd


def learners():
    from river import linear_model, naive_bayes, optim, preprocessing, tree
    from sklearn.linear_model import SGDClassifier

    def logistic(step, **options):
        return lambda: (
            preprocessing.StandardScaler()
            | linear_model.LogisticRegression(optim.SGD(step), **options)
        )

    def sgd(**options):
        return lambda: SGDClassifier(
            loss="log_loss", learning_rate="constant", eta0=0.1, random_state=0, **options
        )

    return {
        "logistic, step 0.1": logistic(0.1),
        "logistic, step 0.1, clipped": logistic(0.1, clip_gradient=0.3),
        "logistic, step 0.01": logistic(0.01),
        "SGD 0.1 (scikit-learn)": sgd(),
        "SGD 0.1, averaged": sgd(average=True),
        "naive Bayes": naive_bayes.GaussianNB,
        "Hoeffding tree": tree.HoeffdingTreeClassifier,
        "adaptive Hoeffding tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=0),
    }


def phishing(repeats=1):
    from river.datasets import Phishing

    from crenel.subject import Data

    rows = list(Phishing()) * repeats
    y = np.array([int(label) for _, label in rows])
    return Data(pd.DataFrame([x for x, _ in rows]), y, np.arange(len(y)))


def first_half(curve):
    """Smallest budget that turns half of the behaviours; infinite where none does."""
    reached = np.flatnonzero(np.array(curve.harm.values) >= 0.5)
    return curve.budget.values[reached[0]] if len(reached) else np.inf


def measure(name, learner, stream, seed):
    from crenel.check import Context
    from crenel.errors import Inconclusive
    from crenel.online.checks import what_it_takes
    from crenel.subject import Learning, Subject

    began = time.perf_counter()
    subject = Subject(name, learning=Learning(learner, stream))
    try:
        got = what_it_takes.measure(subject, Context(check="ONL-101", seed=seed))
    except Inconclusive as reason:
        print(f"{name:28} inconclusive: {reason}")
        return
    curve = {(e.role, e.series): e for e in got.exposures}
    burst, share = curve["attack", "burst"], curve["attack", "share of the stream"]
    broken = next((f for f in got.findings if f.subject == "broken sample"), None)
    healing = curve.get(("reference", "healing"))
    print(
        f"{name:28} {first_half(burst):>7,.0f} {100 * first_half(share):>7.1f} "
        f"{100 * curve['control', 'burst'].harm.values[-1]:>8.0f} "
        f"{100 * healing.harm.values[-1] if healing else float('nan'):>7.0f} "
        f"{100 * curve['attack', 'random flips'].harm.values[-1]:>8.0f} "
        f"{'yes' if broken else 'no':>7} {time.perf_counter() - began:>6.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    print(
        f"{'learner':28} {'burst':>7} {'share %':>7} {'control':>8} {'stays %':>7} "
        f"{'flips %':>8} {'broken':>7} {'s':>6}\n"
        "burst, share: smallest that turns half; control: turned by honest samples, %;\n"
        "stays: still turned after 200 honest samples; flips: lost to 30 % flipped labels"
    )
    stream = phishing()
    for seed in range(args.seeds):
        for name, learner in learners().items():
            measure(name, learner, stream, seed)


if __name__ == "__main__":
    main()
