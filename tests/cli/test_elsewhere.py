"""A model from elsewhere: no training data, a file and some texts to test it on."""

from __future__ import annotations

import json

import joblib
import pandas as pd

from crenel.transfer.words.controls import SECRET, planted_word
from tests.cli.test_entry import call


def test_a_filter_from_elsewhere_is_audited_without_its_training_data(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "runs.db"))
    subject = planted_word()
    joblib.dump(subject.model.native, "filter.joblib")
    subject.test.x.assign(passed=subject.test.y).to_csv("mail.csv", index=False)
    assert call(capsys, "init", "filter.joblib", "--test", "mail.csv")[0] == 0
    written = (tmp_path / "crenel.toml").read_text()
    assert '\ntest = "mail.csv"' in written
    assert "\ntrain" not in written
    code, out, _ = call(capsys, "audit", "--check", "TRA-107", "--json")
    assert code == 1
    told = [f["sentence"] for f in json.loads(out)["findings"]]
    assert any(SECRET in sentence for sentence in told)
    assert len(pd.read_csv("mail.csv")) == len(subject.test)
