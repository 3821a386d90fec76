"""Audit a model that is held in memory, and use single algorithms with plain arrays.

python audit.py
"""

from __future__ import annotations

from sklearn.datasets import load_wine
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

import crenel


def main() -> None:
    x, y = load_wine(return_X_y=True, as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=0)
    model = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(x_train, y_train)

    run = crenel.audit(
        crenel.Target(name="wine", model=model, train=(x_train, y_train), test=(x_test, y_test)),
        time="30s",
        risks=["evasion", "confidentiality"],
    )
    print(run.verdict, run.policy.sentence)
    for finding in run.findings:
        print(finding.severity, finding.sentence)

    rows, labels = x_test.to_numpy(), y_test.to_numpy()
    distances = crenel.evasion.tree_distance(model, rows, labels, scale=rows.std(axis=0))
    print(f"median exact distance: {sorted(distances.upper)[len(rows) // 2]:.3f} deviations")


if __name__ == "__main__":
    main()
