"""EVA-104 keeps the contract and says what it did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crenel.access import Access
from crenel.auditor.execute import execute
from crenel.evasion import checks
from crenel.evasion.blackbox import controls
from crenel.run import State
from crenel.subject import Data, Subject
from crenel.testing import check_check


def test_the_contract() -> None:
    report = check_check(checks.queries_alone)
    for result in (report.weak, report.sound):
        assert [e.series for e in result.exposures] == ["epsilon", "queries"]
        for exposure in result.exposures:
            assert exposure.health.ok, exposure.health
            assert list(exposure.harm.values) == sorted(exposure.harm.values)


def table(kind: str = "number") -> Subject:
    """A scorer of four columns, the third of whole numbers, the fourth fixed."""
    import pandas as pd

    from crenel.adapters import wrap
    from crenel.data import infer_schema

    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.random(300), "b": rng.random(300), "c": rng.integers(0, 30, 300)})
    x["d"] = rng.random(300)
    if kind == "words":
        x["e"] = rng.choice(["red", "blue"], 300)
    margin = x["a"] - x["b"] + 0.05 * (x["c"] - 15) + x["d"] - 0.5
    y = (margin > 0).to_numpy().astype(np.int64)

    def probabilities(rows):
        assert rows["c"].dtype == np.int64
        z = (rows["a"] - rows["b"] + 0.05 * (rows["c"] - 15) + rows["d"] - 0.5).to_numpy()
        p = 1 / (1 + np.exp(-8 * z))
        return np.column_stack([1 - p, p])

    schema = infer_schema(x)
    features = [f.model_copy(update={"mutable": f.name != "d"}) for f in schema.features]
    data = Data(x, y, np.arange(300))
    return Subject(
        "lender", model=wrap(probabilities, sample=x[:5], classes=[0, 1]),
        train=data.take(np.arange(150)), test=data.take(np.arange(150, 300)),
        schema=schema.model_copy(update={"features": tuple(features)}),
    )  # fmt: skip


def test_a_table_of_numbers_is_moved_legally() -> None:
    result = execute(checks.queries_alone, table(), seed=0, seconds=60)
    assert result.outcome.outcome is State.MEASURED, result.outcome
    by_size = result.exposures[0]
    assert all(t.ok for t in by_size.health.tests), by_size.health
    assert by_size.harm.values[-1] > 0.5
    edits = [e for f in result.findings for example in f.examples for e in example.edits]
    assert edits
    assert {e.field for e in edits} <= {"a", "b", "c"}
    assert all(float(e.after).is_integer() for e in edits if e.field == "c")


def test_labels_alone_and_a_days_queries() -> None:
    access = Access(attacker="labels", queries_per_day=40, price_per_1000=3)
    subject = replace(controls.faint_pattern(), access=access)
    result = execute(checks.queries_alone, subject, seed=0, seconds=60)
    sizes, queries = result.exposures
    assert sizes.access.attacker == "labels"
    assert queries.budget.values[-1] == 40
    assert sizes.health.ok, sizes.health
    assert any("at 3 for 1,000 queries that is" in note for note in result.outcome.notes)
    assert "only decisions" in result.findings[0].sentence


def test_a_price_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="price_per_1000"):
        Access(price_per_1000=-1)


def test_words_are_left_to_the_search_over_fields() -> None:
    result = execute(checks.queries_alone, table("words"), seed=0, seconds=60)
    assert result.outcome.outcome is State.NOT_APPLICABLE
    assert "EVA-102" in result.outcome.reason


@pytest.mark.parametrize("steps", [4, 16])
def test_hidden_gradients_are_seen_by_queries(steps: int) -> None:
    """A network that rounds its input hides its gradients; queries find the witnesses anyway."""
    torch = pytest.importorskip("torch")
    from crenel.adapters import wrap

    rng = np.random.default_rng(0)
    pattern = rng.choice([-1.0, 1.0], (1, 8, 8))
    y = rng.integers(0, 2, 120).astype(np.int64)
    x = (
        0.5
        + 0.05 * (2 * y - 1)[:, None, None, None] * pattern
        + rng.normal(0, 0.02, (120, 1, 8, 8))
    )

    class Rounded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(pattern.ravel(), dtype=torch.float32))

        def forward(self, z):
            stepped = torch.floor(z * steps * 8) / (steps * 8)
            score = (stepped.flatten(1) - 0.5) @ self.weight
            return torch.stack([-score, score], dim=1)

    rows = x.clip(0, 1).astype(np.float32)
    subject = Subject(
        "rounded", model=wrap(Rounded(), classes=[0, 1]), test=Data(rows, y, np.arange(120))
    )
    result = execute(checks.queries_alone, subject, seed=0, seconds=60)
    assert result.exposures[0].harm.values[-2] > 0.95  # 10 % of the range
    assert any(
        t.name == "gradients are at least as strong" for t in result.exposures[0].health.tests
    )
