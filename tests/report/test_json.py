import json
import math

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError

from crenel.errors import UsageError
from crenel.exposure import Budget, Harm
from crenel.finding import Evidence
from crenel.report.json import SCHEMA_FILE, from_json, schema, schema_text, to_json
from crenel.run import SCHEMA_VERSION
from tests.report import fixture


def test_a_run_survives_the_round_trip():
    run = fixture.run()
    assert from_json(to_json(run)) == run
    assert to_json(from_json(to_json(run))) == to_json(run)


def test_it_has_the_published_shape():
    data = json.loads(to_json(fixture.run()))
    assert {"schema_version", "run", "target", "outcomes", "exposures", "findings"} <= set(data)
    assert {"policy", "verdict"} <= set(data)
    assert data["verdict"] == "fail"
    assert {"check", "risk", "outcome", "reason"} <= set(data["outcomes"][0])
    exposure = data["exposures"][0]
    assert {"name", "unit", "values"} <= set(exposure["budget"])
    assert {"name", "unit", "values", "low", "high"} <= set(exposure["harm"])
    assert {"ok", "tests"} <= set(exposure["health"])
    finding = data["findings"][0]
    assert {"rows", "columns", "files", "images", "values"} <= set(finding["evidence"])
    assert finding["fingerprint"]


def test_the_schema_is_valid_and_the_report_conforms():
    published = schema()
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    data = json.loads(to_json(fixture.run()))
    validator.validate(data)
    broken = {**data, "verdict": "fine"}
    assert list(validator.iter_errors(broken))
    assert list(validator.iter_errors({k: v for k, v in data.items() if k != "run"}))


def test_the_committed_schema_is_the_schema():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema()["version"] == SCHEMA_VERSION
    assert SCHEMA_VERSION in schema()["$id"]


def test_figures_are_finite():
    values = {
        "bad": math.nan, "worse": [1.0, math.inf], "deep": {"x": -math.inf},
        "numpy": np.float64(0.5), "count": np.int64(3), "array": np.array([1.0, np.nan]),
    }  # fmt: skip
    finding = fixture.findings()[0].model_copy(update={"evidence": Evidence(values=values)})
    text = to_json(fixture.run(findings=(finding,)))
    found = json.loads(text, parse_constant=pytest.fail)["findings"][0]["evidence"]["values"]
    assert found == {
        "bad": None, "worse": [1.0, None], "deep": {"x": None},
        "numpy": 0.5, "count": 3, "array": [1.0, None],
    }  # fmt: skip


def test_curves_cannot_hold_what_json_cannot():
    with pytest.raises(ValidationError, match="finite"):
        Budget(name="b", values=(1.0, math.inf))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValidationError, match="not a measurement"):
            Harm(name="h", values=(bad,), low=(0.0,), high=(bad,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[1]", "no schema_version"),
        ("{}", "no schema_version"),
        ('{"schema_version": 3}', "no schema_version"),
        ('{"schema_version": "2.0"}', "layout 2.0, this crenel reads 1.0"),
        ('{"schema_version": "1.0"}', "damaged at run"),
    ],
)
def test_what_is_not_a_report_is_refused_in_one_sentence(text, said):
    with pytest.raises(UsageError, match=said):
        from_json(text)


def test_a_newer_minor_version_is_read_without_what_is_unknown():
    data = json.loads(to_json(fixture.run()))
    data["invented"] = 1
    data["exposures"][0]["budget"]["invented"] = 2
    with pytest.raises(UsageError, match="damaged at"):
        from_json(json.dumps(data))
    data["schema_version"] = "1.9"
    read = from_json(json.dumps(data))
    assert read.exposures == fixture.run().exposures


def test_it_is_unicode_and_not_escaped():
    assert "8 → 3" in to_json(fixture.run())
