"""Origins that look like well-known ones: silent on honest names, and which squats are seen."""

from __future__ import annotations

import random
import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.check import Context
from crenel.evasion.text.confusables import NEAR
from crenel.finding import Severity
from crenel.provenance.origins import parse_origin, same_model
from crenel.subject import Base, Subject
from crenel.transfer.checks import documentation
from crenel.transfer.lookalikes import Names, distance, namesake, resemblance, shipped

#: Names that are none of those shipped, from general knowledge. One of them (tensorflow-hub) was
#: taken for a look-alike at first, and "hub" is no affix since: they are no test set any more.
PUBLISHERS = """
    amazon-science answerdotai argilla autogluon bosonai BlinkDL ckiplab codellama colbert-ir Davlan
    cognitivecomputations csebuetnlp damo-vilab dbmdz DeepFloyd DeepPavlov depth-anything elastic
    espnet fishaudio flair fnlp google-research-datasets gradio guillaumekln hexgrad hkunlp hustvl
    huggingface-course huggingface-projects ibm-nasa-geospatial IDEA-CCNL IDEA-Research impira
    indobenchmark intel-isl j-hartmann jonatasgrosman kandinsky-community keras KoboldAI
    LanguageBind LiquidAI llava-hf lmstudio-community MCG-NJU michiyasunaga microsoft-research
    mistral-community monologg MoritzLaurer mrm8488 nateraw NbAiLab neuml nreimers OFA-Sys
    Open-Orca OpenAssistant openchat OpenGVLab openlm-research opensearch-project optimum
    philschmid prithivida pszemraj PygmalionAI qualcomm RWKV SamLowe sayakpaul sberbank-ai
    shibing624 snunlp sonoisa StanfordAIMI stepfun-ai superb SWivid TencentARC TheDrummer TinyLlama
    tohoku-nlp trl-lib tuner007 uer urchade VAGOsolutions vinai wanglab XLabs-AI xlangai
    yiyanghkust ZhengPeng7
""".split()
PACKAGES = """
    albumentations bitsandbytes captum dask datasette deepspeed einops evaluate faiss-cpu fasttext
    flax gensim gradio h5py hnswlib imageio jaxlib kornia langchain llama-index nltk numba
    onnxmltools onnxruntime-gpu onnxsim optax optuna pandera polars pyarrow pytorch-ignite requests
    river scikit-image seaborn shap skl2onnx skorch statsmodels tensorflow-cpu tensorflow-datasets
    tensorflow-hub tiktoken torchdata torchmetrics torchtext vllm xgboost-cpu
""".split()
MODELS = """
    all-MiniLM-L12-v2 all-distilroberta-v1 bart-large-cnn beit-large-patch16-224 bert-base-chinese
    bert-base-german-cased bert-base-multilingual-uncased bert-large-cased bge-base-en-v1.5
    biobert-base-cased camembert-base deberta-v3-small dinov2-small distilroberta-base e5-large-v2
    electra-base-generator falcon-40b finbert-tone flan-t5-large gemma-7b gpt2-medium hubert-base
    legal-bert-base-uncased Llama-2-13b-hf mobilebert-uncased mpnet-base opt-1.3b phi-3-mini
    paraphrase-MiniLM-L6-v2 resnet-101 rembert roberta-base-squad stable-diffusion-2-1
    swin-base-patch4-window7-224 vit-large-patch16-224 wav2vec2-large-960h whisper-base
    whisper-large-v2 whisper-small xlm-roberta-large bert-base-uncased-finetuned-mrpc
    bert-base-uncased-GGUF Qwen2.5-14B-Instruct gpt-2 resnet-50-pets
""".split()
#: Sisters: without one of them on the list, it would be taken for the other.
SISTERS = ({"huggingface", "HuggingFaceH4", "HuggingFaceM4", "HuggingFaceTB"},
           {"xai-org", "zai-org"})  # fmt: skip


def measure(check, subject):
    return check.measure(subject, Context(check=check.id))


def without(name):
    names = shipped()
    kept = [tuple(n for n in part if n != name) for part in
            (names.hosts, names.publishers, names.models, names.packages)]  # fmt: skip
    return Names(*kept)


def test_no_shipped_name_resembles_another_one():
    names = shipped()
    stated = [f"{p}/some-model" for p in names.publishers] + [f"pypi:{p}" for p in names.packages]
    stated += [f"https://{host}/a/b" for host in names.hosts] + list(names.models)
    stated += [f"someone/{model.partition('/')[2]}" for model in names.models]
    for origin in stated:
        assert resemblance(origin) is None, origin


def test_no_shipped_name_would_resemble_another_one_were_it_not_on_the_list():
    names = shipped()
    for name in names.publishers:
        found = resemblance(f"{name}/some-model", without(name))
        assert found is None or any({name, found.known} <= family for family in SISTERS), name
    for name in names.packages:
        assert resemblance(f"pypi:{name}", without(name)) is None, name
    for name in names.hosts:
        assert resemblance(f"https://{name}/a/b", without(name)) is None, name
    for name in names.models:
        assert resemblance(f"someone/{name.partition('/')[2]}", without(name)) is None, name


def test_honest_names_raise_no_alarm():
    assert len(PUBLISHERS) + len(PACKAGES) + len(MODELS) > 180
    for origin in [f"{p}/net" for p in PUBLISHERS] + [f"pypi:{p}" for p in PACKAGES]:
        assert resemblance(origin) is None, origin
    for model in MODELS:
        assert resemblance(f"someone/{model}") is None, model
        assert resemblance(model) is None, model


def edits(name, rng):
    """One of each kind of single edit, at a random place."""
    at = rng.randrange(len(name))
    letter = rng.choice(string.ascii_lowercase)
    yield "deleted", name[:at] + name[at + 1 :]
    yield "inserted", name[:at] + letter + name[at:]
    yield "substituted", name[:at] + letter + name[at + 1 :]
    yield "doubled", name[:at] + name[at] + name[at:]
    at = rng.randrange(len(name) - 1)
    yield "swapped", name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def squats(name, rng):
    yield from edits(name, rng)
    places = [i for i, c in enumerate(name) if c in NEAR]
    at = rng.choice(places)
    yield "homoglyph", name[:at] + rng.choice(NEAR[name[at]]) + name[at + 1 :]
    for affix in ("official-", "hf-", "the-"):
        yield "affix", affix + name
    for affix in ("-official", "-hf", "-team", "_org", "2", "-123"):
        yield "affix", name + affix
    for old, new in (("-", "_"), ("-", "."), ("-", "")):
        if old in name:
            yield "separator", name.replace(old, new)


KINDS = ("deleted", "inserted", "substituted", "doubled", "swapped", "homoglyph", "affix")


def recall(names, wrap, rounds):
    """How many squats of each kind are seen, and how many were made: those that are no name."""
    rng = random.Random(0)
    seen, made = Counter(), Counter()
    known = {n.casefold() for n in (*shipped().publishers, *shipped().packages)}
    for _ in range(rounds):
        for name in names:
            for kind, squat in squats(name, rng):
                if squat.casefold() in known or plain(squat, wrap) in known:
                    continue
                made[kind] += 1
                seen[kind] += resemblance(wrap(squat)) is not None
    return seen, made


def plain(name, wrap):
    """What the package index takes a name for."""
    return re.sub(r"[-_.]+", "-", name).casefold() if wrap("").startswith("pypi") else ""


def test_squats_of_publishers_are_seen():
    """All of the names of 6 letters and more; with shorter ones, 96 % of the single edits."""
    long = [n for n in shipped().publishers if len(n) >= 6]
    seen, made = recall(long, lambda s: f"{s}/net", 1)
    for kind in (*KINDS, "separator"):
        assert seen[kind] == made[kind] > 60, kind
    seen, made = recall(shipped().publishers, lambda s: f"{s}/net", 1)
    single = KINDS[:5]
    share = sum(seen[k] for k in single) / sum(made[k] for k in single)
    assert 0.94 < share < 0.99


def test_squats_of_packages_are_seen():
    long = [n for n in shipped().packages if len(n) >= 6]
    seen, made = recall(long, lambda s: f"pypi:{s}", 2)
    for kind in KINDS:
        assert seen[kind] == made[kind] > 40, kind
    assert resemblance("pypi:Scikit_Learn") is None  # one name to the index
    assert resemblance("pypi:scikitlearn") is not None


def test_misspelt_model_names_are_seen_where_it_is_a_long_word():
    """All homoglyphs; of single edits anywhere 46 %, as digits and short words may differ."""
    rng = random.Random(0)
    seen, made = Counter(), Counter()
    for model in shipped().models:
        name = model.partition("/")[2].lower()
        for kind, squat in squats(name, rng):
            if squat != name:
                made[kind] += 1
                seen[kind] += resemblance(f"someone/{squat}") is not None
    assert seen["homoglyph"] == made["homoglyph"] > 50
    single = KINDS[:5]
    share = sum(seen[k] for k in single) / sum(made[k] for k in single)
    assert 0.35 < share < 0.6
    for word in ("uncasedd", "uncaed", "uncasde", "umcased", "uncasad"):
        assert resemblance(f"someone/bert-base-{word}") is not None, word


def test_short_names_are_compared_with_care():
    assert resemblance("Qwne/net").known == "Qwen"
    assert resemblance("timmm/net").known == "timm"
    assert resemblance("tim/net") is None
    assert resemblance("BAAB/net") is None


@pytest.mark.parametrize(
    ("origin", "known", "kind"),
    [
        ("hub:meta-1lama/Llama-2-7b@main", "meta-llama", "publisher"),
        ("https://huggingface.co/rneta-llama/Llama-2-7b", "meta-llama", "publisher"),
        ("pkg:huggingface/g%D0%BE%D0%BEgle/flan-t5-base@1", "google", "publisher"),
        ("microsoft\u200b/phi-2", "microsoft", "publisher"),
        ("huggingface.com/google/bert", "huggingface.co", "host"),
        ("https://huggingface.co.example.net/google/bert", "huggingface.co", "host"),
        ("https://huggingface.co@example.net/google/bert", "huggingface.co", "host"),
        ("https://xn--ggle-55da.com/a/b", None, ""),
        ("pkg:pypi/tranformers@4.0", "transformers", "package"),
        ("someone/bert-base-uncasde", "google-bert/bert-base-uncased", "model"),
        ("someone/whisper-tiny-official", "openai/whisper-tiny", "model"),
        ("google/bert-base-uncasde", None, ""),
        ("", None, ""),
        ("https://[", None, ""),
    ],
)
def test_all_ways_to_state_an_origin_are_read(origin, known, kind):
    found = resemblance(origin)
    assert (found and found.known) == known
    if found:
        assert found.kind == kind
        assert found.detail.isascii()


def test_a_model_of_the_same_name_is_noted_and_not_found():
    assert resemblance("someone/bert_base_uncased") is None
    assert namesake("someone/bert_base_uncased") == "google-bert/bert-base-uncased"
    assert namesake("google-bert/bert-base-uncased") is None
    assert namesake("bert-base-uncased") is None


def test_names_of_ones_own_are_protected_and_known():
    own = shipped().including(["acme-models/fraud-net@1", "openal/net"])
    assert resemblance("acme-model/fraud-net") is None
    assert resemblance("acme-model/fraud-net", own).known == "acme-models"
    assert resemblance("openal/net").known == "openai"
    assert resemblance("openal/net", own) is None


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_that_of_optimal_string_alignment(a, b):
    def slow(i, j):
        if not i or not j:
            return i + j
        best = min(
            slow(i - 1, j) + 1, slow(i, j - 1) + 1, slow(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        )
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            best = min(best, slow(i - 2, j - 2) + 1)
        return best

    assert distance(a, b, 2) == min(slow(len(a), len(b)), 3)


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_raise(text):
    for origin in (text, f"https://{text}", f"pkg:{text}", f"pypi:{text}"):
        parse_origin(origin)
        resemblance(origin)
        namesake(origin)


def test_two_origins_of_one_model():
    assert same_model("hub:Org/Name@main", "https://huggingface.co/org/name/resolve/main/x.bin")
    assert same_model("org/name@abc", "pkg:huggingface/org/name")
    assert same_model("name", "org/name")
    assert not same_model("org/name@1", "org/name@2")
    assert not same_model("a/name", "b/name")
    assert not same_model("", "")


def test_the_check_names_what_an_origin_resembles(tmp_path):
    def found(**base):
        findings = measure(documentation, Subject("t", base=Base(**base))).findings
        return {f.evidence.values["item"]: f for f in findings}

    squat = found(origin="hub:gooogle/flan-t5-base@main")["look-alike origin"]
    assert squat.severity is Severity.HIGH
    assert "google" in squat.sentence
    assert "look-alike origin" not in found(origin="hub:google/flan-t5-base@main")
    card = tmp_path / "README.md"
    card.write_text("---\nbase_model: someone/bert-base-uncasde\n---\n# Net\n")
    assert found(card=card)["look-alike origin"].severity is Severity.MEDIUM
    notes = measure(documentation, Subject("t", base=Base(origin="someone/phi-2"))).notes
    assert any("microsoft/phi-2" in note for note in notes)
