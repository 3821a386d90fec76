import re
from importlib.metadata import entry_points

import pytest

from crenel.check import Check, Risk
from crenel.errors import UsageError
from crenel.references import by_framework, crosswalk, lookup, of_risk

PATTERNS = {
    "MITRE ATLAS": r"AML\.[TM]\d{4}(\.\d{3})?",
    "NIST AI 100-2": r"NISTAML\.\d{2,3}",
    "OWASP Machine Learning Security Top 10": r"ML\d{2}:2023",
    "EU AI Act": r"AIA:[IVX\d]+(\(\d+\))?(\([a-z]\))?",
    "BIML-78": r"BIML:[a-z]+:\d+",
}


@pytest.mark.parametrize("key", crosswalk())
def test_every_entry_is_whole_and_its_key_follows_its_framework(key):
    r = lookup(key)
    assert r.key == key
    assert re.fullmatch(PATTERNS[r.framework], key)
    assert r.version
    assert r.title
    assert r.url.startswith("https://")
    assert r.id in str(r)


def test_owasp_is_whole():
    assert [k for k in crosswalk() if k.startswith("ML")] == [
        f"ML{i:02d}:2023" for i in range(1, 11)
    ]


@pytest.mark.parametrize("risk", Risk)
def test_every_risk_is_known_to_every_framework(risk):
    assert set(PATTERNS) == {r.framework for r in of_risk(risk)}


def test_known_ids_have_their_meaning():
    assert lookup("AML.T0024.000").title.endswith("Infer Training Data Membership")
    assert lookup("NISTAML.033").title == "Membership inference"
    assert lookup("ML07:2023").title == "Transfer Learning Attack"
    assert lookup("AIA:15(5)").id == "Article 15(5)"


def test_unknown_keys_are_refused_with_what_a_key_looks_like():
    with pytest.raises(UsageError, match=r"AML\.T0015"):
        lookup("ML11:2023")
    with pytest.raises(UsageError, match="evasion"):
        of_risk("weather")


def test_groups_keep_the_edition_and_drop_repeats():
    twice = [lookup("ML01:2023"), lookup("ML01:2023"), lookup("AML.T0015")]
    groups = by_framework(twice)
    assert {k: len(v) for k, v in groups.items()} == {
        "OWASP Machine Learning Security Top 10 2023": 1,
        "MITRE ATLAS 5.6.0": 1,
    }


@pytest.mark.parametrize("point", entry_points(group="crenel.checks"), ids=lambda p: p.name)
def test_every_reference_of_an_installed_check_exists(point):
    pytest.importorskip(point.value, reason="this risk's checks cannot be imported here")
    checks = [c for c in vars(point.load()).values() if isinstance(c, Check)]
    assert checks
    for check in checks:
        assert check.references, check.id
        for key in check.references:
            lookup(key)
