"""Model cards: what is read of them, and that no text makes the reader raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.transfer.papers import claims
from crenel.transfer.papers.card import front_matter, parse_card
from crenel.transfer.papers.checklist import Facts, State, review

FRONT = """\
---
license: apache-2.0   # a comment
language: [en, 'fr']
tags:
- vision
  # another comment
- "small: net"
datasets:
  - digits
model-index:
- name: net
  results:
  - task:
      type: image-classification
    metrics:
    - type: accuracy
      name: Accuracy
      value: 0.93
---
# Net
Reads digits.
- **Contact:** mail the vision group
- **Developed by:** [More Information Needed]

## Uses
### Direct use
A starting point for tuning.
### Out-of-scope use
[More Information Needed]

## Training Details
TODO

## Limitations
```
# Security
a heading in code is no heading
```
"""


def test_front_matter_is_read_as_yaml_reads_it():
    yaml = pytest.importorskip("yaml")
    text = FRONT.split("---\n")[1]
    own, full = front_matter(text), yaml.safe_load(text)
    for key in ("license", "language", "tags", "datasets"):
        assert own[key] == full[key]


def test_sections_know_their_own_text_and_placeholders_say_nothing():
    card = parse_card(FRONT)
    assert card.says("uses?$").startswith("### Direct use")
    assert not card.says("out.of.scope")
    assert not card.says("training")
    assert card.says("contact") == "mail the vision group"
    assert not card.says("security")
    assert not card.says("developed by")
    assert "heading in code" in card.says("limit")


@given(st.text(max_size=400))
def test_any_text_is_a_card(text):
    for whole in (text, f"---\n{text}\n---\n{text}"):
        items = review(parse_card(whole), Facts(classes=3, accuracy=(0.5, 0.4, 0.6)))
        assert {i.name for i in items} >= {"licence", "digest", "risk controls"}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 .]{0,10}[a-z0-9]", fullmatch=True),
    )
)
def test_simple_front_matter_survives(pairs):
    text = "\n".join(f"{k}: {v}" for k, v in pairs.items())
    assert front_matter(text) == pairs


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("Sorts into 10 classes.", 10),
        ("It knows 1000 ImageNet classes and no other", 1000),
        ("three labels", 3),
        ("10 classes, later reduced to 4 classes", None),
        ("many classes", None),
    ],
)
def test_claimed_classes(text, classes):
    assert claims.claimed_classes(parse_card(text)) == classes


@pytest.mark.parametrize(
    ("text", "accuracy"),
    [
        ("Accuracy 0.97 on held-out digits", 0.97),
        ("reaches a top-1 accuracy of 76.1 %", 0.761),
        ("| accuracy | 88.25 |", 0.8825),
        ("accuracy is good", None),
        (FRONT, 0.93),
    ],
)
def test_claimed_accuracy(text, accuracy):
    assert claims.claimed_accuracy(parse_card(text)) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("apache-2.0", "apache"),
        ("Apache License\nVersion 2.0", "apache"),
        ("Permission is hereby granted, free of charge, to any person", "mit"),
        ("MIT", "mit"),
        ("cc-by-nc-4.0", "cc-by-nc"),
        ("GNU GENERAL PUBLIC LICENSE … use the GNU Lesser General Public License instead", "gpl"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE … GNU General Public License", "agpl"),
        ("my own words", ""),
    ],
)
def test_licence_family(text, family):
    assert claims.licence_family(text) == family


@pytest.mark.parametrize(
    ("origin", "is_pinned"),
    [
        ("hub:org/name@" + "a1" * 20, True),
        ("hub:org/name@sha256:" + "b" * 64, True),
        ("pkg:huggingface/org/name@" + "a1" * 20 + "?repository_url=x", True),
        ("hub:org/name@main", False),
        ("hub:org/name@" + "a" * 7, False),
        ("hub:org/name", False),
        ("", False),
    ],
)
def test_pinned_revision(origin, is_pinned):
    assert claims.pinned(origin) is is_pinned


def states(card, **facts):
    return {i.name: i.state for i in review(parse_card(card), Facts(**facts))}


def test_claims_are_held_against_facts():
    card = (
        "---\nlicense: mit\n---\n# Net\n## Files\nsha256 " + "a" * 64 + "\n4 classes, accuracy 0.9"
    )
    true = states(
        card, digests={"f": "a" * 64}, classes=4, accuracy=(0.89, 0.85, 0.92), licence_text="MIT"
    )
    assert {true[n] for n in ("digest", "licence", "number of classes", "accuracy")} == {
        State.PRESENT
    }
    false = states(
        card, digests={"f": "b" * 64}, classes=5, accuracy=(0.6, 0.5, 0.7), licence_text="GPL"
    )
    assert {false[n] for n in ("digest", "licence", "number of classes", "accuracy")} == {
        State.CONTRADICTED
    }


def test_a_digest_for_only_one_of_two_files_is_not_enough():
    card = "# Net\nsha256 " + "a" * 64
    assert states(card, digests={"f": "a" * 64, "g": "c" * 64})["digest"] is State.MISSING


def test_without_a_card_everything_is_missing():
    assert {i.state for i in review(None, Facts())} == {State.MISSING}
    assert len(review(None, Facts())) == 10
