"""Edits of characters and words: what they are, and what they must not be."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.errors import UsageError
from crenel.evasion.text import characters
from crenel.evasion.text.characters import INVISIBLE, TYPOS, propose
from crenel.evasion.text.confusables import FOLD, NEAR, ZERO_WIDTH, hidden
from crenel.evasion.text.documents import document, patterns
from crenel.evasion.text.embeddings import learn_words
from crenel.evasion.text.normalising import TextNormaliser, normalise
from crenel.evasion.text.words import Lexicon, Meaning, common_words, inflections

WORDS = st.text(st.characters(codec="ascii", categories=["Ll", "Lu"]), min_size=1, max_size=12)


def osa(a: str, b: str) -> int:
    """Optimal string alignment distance: insert, delete, replace, swap neighbours."""
    d = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    d[:, 0], d[0] = range(len(a) + 1), range(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i, j] = min(
                d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            )
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i, j] = min(d[i, j], d[i - 2, j - 2] + 1)
    return int(d[-1, -1])


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(0, 1000))
def test_every_proposal_is_one_edit_away(word: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for edits in (INVISIBLE, TYPOS):
        made = propose(word, edits, 5, rng)
        assert made or (len(word) < 2 and edits is TYPOS)
        assert len(set(made)) == len(made)
        for new in made:
            assert osa(word, new) == 1, (word, new)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(0, 1000))
def test_normalising_undoes_every_invisible_edit_and_their_pile(word: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = word
    for _ in range(3):
        text = propose(text, INVISIBLE, 1, rng)[0] if propose(text, INVISIBLE, 1, rng) else text
        assert normalise(f"say {text} now") == f"say {word} now", ascii(text)


def test_typing_errors_are_ascii_and_invisible_edits_never_are() -> None:
    rng = np.random.default_rng(0)
    for word in ("prize", "Winner", "urgent", "FREE"):
        assert all(new.isascii() for new in propose(word, TYPOS, 20, rng))
        assert not any(new.isascii() for new in propose(word, INVISIBLE, 20, rng))


def test_look_alikes_are_single_letters_of_other_scripts_that_fold_back() -> None:
    for plain, others in NEAR.items():
        assert len(plain) == 1
        for other in others:
            assert not other.isascii()
            assert unicodedata.category(other)[0] in "LN", ascii(other)
            folded = unicodedata.normalize("NFKC", other)
            assert folded.translate(FOLD).lower() == plain.lower() or plain in "01346", ascii(other)
    assert all(hidden(c) for c in ZERO_WIDTH)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("frее prizе", "free prize"),  # Cyrillic е
        ("f\u200br\u00ade\ufe0fe", "free"),
        ("ｆｒｅｅ 𝐩𝐫𝐢𝐳𝐞", "free prize"),  # full width, mathematical
        ("f\u0336r\u0336e\u0336e", "free"),  # struck out
        ("Привет, мир", "Привет, мир"),  # a text of its own script stays
        ("café naïve Ärger", "café naïve Ärger"),
        ("ＷＩＮ №1 ½", "WIN No1 1⁄2"),
    ],
)
def test_texts_are_read_as_they_look(given: str, read: str) -> None:
    assert normalise(given) == read


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert not any(hidden(c) for c in once)


def test_the_step_of_a_pipeline_keeps_the_form_of_the_rows() -> None:
    import pandas as pd

    texts = ["frее", None, "plain"]
    table = pd.DataFrame({"a": texts, "b": ["frее"] * 3})
    done = TextNormaliser(["a"]).fit(table).transform(table)
    assert done["a"].tolist()[0] == "free"
    assert pd.isna(done["a"].iloc[1])
    assert done["b"].tolist() == ["frее"] * 3
    assert TextNormaliser().fit(texts).transform(texts).tolist() == ["free", None, "plain"]
    assert not TextNormaliser(["a"]).takes_texts
    assert TextNormaliser().takes_texts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), min_size=1, max_size=3))
def test_a_document_is_its_texts_again(texts: list[str | None]) -> None:
    made = document(texts)
    assert made.render(()) == [t or "" for t in texts]


def test_protected_parts_are_not_words_to_edit() -> None:
    text = "Call 0800123 or see www.win.com, dear John, or mail a@b.org today"
    made = document([text], patterns(("numbers", "urls", "names", r"dear\b")))
    free = {made.tokens[p] for p in made.words}
    assert free == {"Call", "or", "see", "mail", "today"}
    assert made.count == 15
    with pytest.raises(UsageError, match="neither numbers, urls, names nor a regular"):
        patterns(["("])


def test_a_deleted_word_takes_its_space_with_it() -> None:
    made = document(["one two three"])
    assert made.render([(made.words[1], "", 1)]) == ["one three"]


def test_words_of_like_surroundings_are_found_without_any_download() -> None:
    rng = np.random.default_rng(0)
    fruit, tools = ["apple", "pear", "plum", "fig"], ["hammer", "saw", "drill", "file"]
    texts = []
    for _ in range(400):
        texts.append(f"we eat a ripe sweet {rng.choice(fruit)} from the garden tree")
        texts.append(f"he takes his heavy steel {rng.choice(tools)} out of that box")
    words = learn_words(texts)
    assert set(words.near("apple", 3)) == {"pear", "plum", "fig"}
    assert set(words.near("Saw", 3)) == {"hammer", "drill", "file"}
    assert words.near("unheard", 3) == []
    assert np.array_equal(words.vectors, learn_words(texts).vectors)
    meaning = Meaning(words)
    made = document(["we eat a ripe sweet apple from the garden tree"])
    at = next(p for p in made.words if made.tokens[p] == "apple")
    assert meaning.of(made, [(at, "pear", 1)]) > meaning.of(made, [(at, "hammer", 1)])
    assert not meaning.kept(made, [(p, "", 1) for p in made.words[:5]])


def test_learning_words_of_next_to_nothing_gives_none() -> None:
    words = learn_words(["one two", "three"])
    assert words.near("one", 3) == []
    assert Meaning(words).of(document(["one"]), []) == 1.0


@pytest.mark.parametrize(
    ("word", "form"),
    [("cities", "city"), ("box", "boxes"), ("call", "called"), ("don't", "do not"),
     ("calls", "call"), ("claim", "claiming"), ("party", "parties")],
)  # fmt: skip
def test_forms_of_words(word: str, form: str) -> None:
    assert form in inflections(word)


def test_a_lexicon_tries_what_the_user_says_first_and_keeps_the_case() -> None:
    lexicon = Lexicon(learn_words([]), {"free": ["gratis"]}, {0: ["meeting"]})
    assert lexicon.propose("Free", 0, 4, 0)[:3] == ["Gratis", "", "Free meeting"]
    assert lexicon.propose("FREE", 0, 1, 0) == ["GRATIS"]


def test_common_words_of_the_other_kind() -> None:
    texts = ["win the prize"] * 20 + ["see the doctor"] * 20
    found = common_words(texts, np.repeat([0, 1], 20), 2)
    assert set(found[0][:2]) == {"see", "doctor"}
    assert set(found[1][:2]) == {"win", "prize"}


def test_edits_of_short_words_do_not_fail() -> None:
    rng = np.random.default_rng(0)
    for edit in (*INVISIBLE, *TYPOS):
        assert isinstance(edit("a", rng), str)
    assert characters.delete("ab", rng) == "ab"
