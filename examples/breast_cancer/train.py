"""Train a random forest on scikit-learn's breast cancer data and write it with its data.

python train.py && crenel audit
"""

from __future__ import annotations

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main() -> None:
    table = load_breast_cancer(as_frame=True).frame.rename(columns={"target": "benign"})
    train, test = train_test_split(table, test_size=200, random_state=0)
    train.to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    forest = RandomForestClassifier(100, random_state=0)
    joblib.dump(forest.fit(train.drop(columns="benign"), train["benign"]), "model.joblib")


if __name__ == "__main__":
    main()
