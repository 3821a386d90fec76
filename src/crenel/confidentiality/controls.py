"""Subjects that prove the checks of risk 5: each weakness planted, and its absence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crenel.access import Access, Attacker
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def memorising() -> Subject:
    """A forest of fully grown trees that knows wrong labels by heart."""
    from sklearn.ensemble import RandomForestClassifier

    return _numbers(RandomForestClassifier(30, random_state=0), n=600, noise=0.3)


def regularised() -> Subject:
    """A strongly regularised line in five dimensions through enough rows: no record matters."""
    from sklearn.linear_model import LogisticRegression

    return _numbers(LogisticRegression(C=0.01), n=2_000, noise=0.1)


def linear() -> Subject:
    """A model that few answers give away."""
    from dataclasses import replace

    from sklearn.linear_model import LogisticRegression

    subject = _numbers(LogisticRegression(), n=600, noise=0.0)
    return replace(subject, access=Access(queries_per_day=2_000))


def hashing() -> Subject:
    """Decisions by digits far behind the point, and no scores: no attacker can copy that."""
    import numpy as np

    from crenel.adapters import wrap

    def decide(rows: Any) -> NDArray[np.int64]:
        noise = np.sin(np.asarray(rows, dtype=np.float64) * 1e5).sum(axis=1) * 1e4
        parity: NDArray[np.int64] = np.floor(noise).astype(np.int64) % 2
        return parity

    x, y = _rows(800, 0.0)
    model = wrap(decide, classes=(0, 1), task="classification").with_decisions_only()
    test = Data(x, y, np.arange(len(y)))
    access = Access(attacker=Attacker.LABELS, queries_per_day=2_000)
    return Subject("hash", access=access, model=model, test=test, schema=_schema(x))


def contacts() -> Subject:
    """A table with e-mail addresses in a note, cards in a number and one key."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    note = np.array([f"order {i} shipped" for i in rng.integers(0, 10**6, 2_000)], dtype=object)
    for i in range(0, 2_000, 400):  # 0.25 % of the rows
        note[i] = f"please answer to customer{i}@example.com by Friday"
    note[17] = "deploy with AKIAIOSFODNN7EXAMPLE"
    cards = [_card(rng) for _ in range(2_000)]
    x = pd.DataFrame({"note": note, "reference": cards, "age": rng.integers(18, 90, 2_000)})
    return _table(x)


def clean_table() -> Subject:
    """Order numbers, amounts, codes, versions, measurements: digits, and nobody's."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(8)
    n = 2_000
    x = pd.DataFrame(
        {
            "order": rng.integers(10**15, 10**16, n),
            "account_no": rng.integers(10**8, 10**9, n).astype(str),
            "amount": np.round(rng.lognormal(5, 2, n), 2),
            "timestamp": rng.integers(16 * 10**8, 17 * 10**8, n),
            "product_name": rng.choice(["Blue Chair", "Red Table", "Oak Shelf"], n),
            "measured": pd.date_range("2019-01-01", periods=n, freq="h").astype(str),
            "code": [f"{a}-{b:04d}" for a, b in zip("ABCD" * (n // 4), rng.integers(0, 9999, n))],
        }
    )
    return _table(x)


def _table(x: Any) -> Subject:
    import numpy as np

    data = Data(x, np.arange(len(x)) % 2, np.arange(len(x)))
    return Subject("table", train=data)


def _card(rng: np.random.Generator) -> str:
    """A made-up card number with a valid check digit."""
    from crenel.confidentiality.identifiers import luhn

    body = "4" + "".join(map(str, rng.integers(0, 10, 14)))
    return next(body + d for d in "0123456789" if luhn(body + d))


def _rows(n: int, noise: float) -> tuple[Any, NDArray[np.int64]]:
    """A table of five normal columns; the sign of a sum decides, but for a share of coin flips."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(5)
    x = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    y = (x["a"] + x["b"] - x["c"] > 0).to_numpy(dtype=np.int64)
    return x, np.where(rng.random(n) < noise, 1 - y, y)


def _schema(x: Any) -> Any:
    from crenel.data import infer_schema

    return infer_schema(x)


def _numbers(estimator: Any, n: int, noise: float) -> Subject:
    """An estimator fitted on one half of such rows, the other half held out."""
    import numpy as np

    from crenel.adapters import wrap

    x, y = _rows(2 * n, noise)
    train = Data(x.iloc[:n].reset_index(drop=True), y[:n], np.arange(n))
    test = Data(x.iloc[n:].reset_index(drop=True), y[n:], np.arange(n, 2 * n))
    model = wrap(estimator.fit(train.x, train.y))
    return Subject(type(estimator).__name__, model=model, train=train, test=test, schema=_schema(x))
