"""What a person decides on records is done to them, and to no others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crenel.check import Context
from crenel.errors import SubjectError, UsageError
from crenel.poisoning import controls
from crenel.poisoning.checks import traces as poi104
from crenel.poisoning.labels.quarantine import compare_without
from crenel.poisoning.labels.reviewing import Decision, decided, read_decisions
from crenel.poisoning.remedies import apply_review, quarantine_clusters
from crenel.subject import Data


def rows():
    return Data(np.arange(5.0)[:, None], np.array([0, 1, 2, 0, 1]), np.array([10, 11, 12, 13, 14]))


CLASSES = np.array(["ash", "birch", "cedar"])


def test_decisions_are_done_to_the_records_named():
    found, counts = decided(
        rows(),
        CLASSES,
        (
            Decision("11", "remove", "birch"),
            Decision("13", "relabel", "ash", "cedar"),
            Decision("10", "keep"),
            Decision("14", ""),
        ),
    )
    assert found.ids.tolist() == [10, 12, 13, 14]
    assert found.y.tolist() == [0, 2, 2, 1]
    assert counts == {"keep": 1, "relabel": 1, "remove": 1, "undecided": 1}


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (Decision("99", "remove"), "no training record 99"),
        (Decision("11", "remove", "ash"), "birch by now, not ash"),
        (Decision("11", "relabel", "birch", "oak"), "no such class"),
    ],
)
def test_what_does_not_fit_the_data_is_an_error(decision, message):
    with pytest.raises(SubjectError, match=message):
        decided(rows(), CLASSES, (decision,))


def test_an_id_that_is_not_unique_is_an_error():
    twice = replace(rows(), ids=np.array([10, 11, 11, 13, 14]))
    with pytest.raises(SubjectError, match="2 training records"):
        decided(twice, CLASSES, (Decision("11", "remove"),))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path, suffix):
    table = pd.DataFrame(
        {
            "record": ["007", "8", "9"],
            "given": ["1", "0", "NA"],
            "suggested": ["0", "1", "1"],
            "decision": ["Relabel", "", "remove "],
        }
    )
    path = tmp_path / f"quarantine{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    assert read_decisions(path) == (
        Decision("007", "relabel", "1", "0"),
        Decision("8", "", "0", "1"),
        Decision("9", "remove", "NA", "1"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record,given\n1,0\n", "no column 'decision'"),
        ("record,decision\n1,delete\n", "'delete' of record 1 is no decision"),
        ("record,decision\n1,relabel\n", "write its label"),
        ("record,decision\n1,keep\n1,remove\n", "decides record 1 twice"),
        ("record,decision\n1,\n", "decides nothing"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, message):
    path = tmp_path / "quarantine.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_decisions(path)


def test_clusters_are_held_back_and_then_gone():
    subject = controls.crowded()
    (before,) = poi104.measure(subject, Context("POI-104", deadline=0.0)).findings
    treatment = quarantine_clusters.apply(subject, before, Context("quarantine-clusters"))
    table = treatment.tables["quarantine"]
    assert set(table["record"]) == set(range(1000, 1012)) == set(before.evidence.rows)
    assert (table["given"] != table["suggested"]).mean() > 0.9
    assert not set(treatment.subject.train.ids) & set(table["record"])
    assert not poi104.measure(treatment.subject, Context("POI-104", deadline=0.0)).findings
    table["decision"] = ["relabel"] * 2 + ["remove"] * 9 + [""]
    lines = [
        [str(r.record), r.decision, str(r.given), str(r.suggested)] for r in table.itertuples()
    ]
    evidence = before.evidence.model_copy(update={"values": {"review": lines}})
    reviewed = before.model_copy(update={"evidence": evidence})
    after = apply_review.apply(subject, reviewed, Context("apply-review"))
    assert len(after.subject.train) == len(subject.train) - 9
    assert after.values == {"keep": 0, "relabel": 2, "remove": 9, "undecided": 1}
    assert "1 are not decided" in after.sentence


def test_clean_data_stays_as_it_is():
    subject = controls.right_labels()
    treatment = quarantine_clusters.apply(subject, None, Context("quarantine-clusters"))
    assert treatment.subject is subject
    assert "nothing was changed" in treatment.sentence


def test_a_quarantine_that_costs_accuracy_is_rolled_back():
    subject = controls.right_labels()
    few = np.flatnonzero(subject.train.y == 0)[:40]
    held = subject.train.y == 0
    held[few] = False  # nearly all of one class: the model forgets it

    def fit(x, y, seed):
        if (y == 0).mean() < 0.2:
            return replace(subject.model, decide=lambda r: np.ones(len(r), dtype=np.int64))
        return subject.model.fit(x, y, seed)

    worse = compare_without(fit, subject.train, held, 0)
    assert worse.threshold is None
    assert worse.change.high < 0
    harmless = np.zeros(len(held), dtype=bool)
    harmless[:3] = True
    assert compare_without(subject.model.fit, subject.train, harmless, 0).threshold is not None
