"""Verdicts on networks whose history is known: trained here, tuned, cut, renamed, hidden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.demo.digits import images, network, train  # noqa: E402
from crenel.errors import NotApplicable  # noqa: E402
from crenel.transfer.lineage import Verdict, compare, trace  # noqa: E402
from crenel.transfer.lineage.records import Status  # noqa: E402

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "16_nad_backdoored_cifar"


def fresh(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network()


@pytest.fixture(scope="module")
def models():
    """A base, one tuned in full, one with a new head, one trained apart on the same rows."""
    x, y = images()
    base = train(fresh(0), x[:900], y[:900], 0, epochs=4)
    full, head = fresh(1), fresh(2)
    full.load_state_dict(base.state_dict())
    train(full, x[900:], y[900:], 1, epochs=4)
    body = {k: v for k, v in base.state_dict().items() if not k.startswith("8.")}
    head.load_state_dict(body, strict=False)
    # Another task: a head trained anew for the same one on the same features becomes alike.
    train(head, x[900:], y[900:] % 2 + 4, 1, epochs=2, freeze=8)
    apart = train(fresh(3), x[:900], y[:900], 0, epochs=4)
    return {"base": base, "full": full, "head": head, "apart": apart}


class Held(torch.nn.Module):
    """Any tensors as a module."""

    def __init__(self, state):
        super().__init__()
        self.state = dict(state)

    def state_dict(self):
        return self.state


def statuses(found):
    return {x.base or x.tuned: x.status for x in found.layers if x.telling}


def test_a_copy_is_one_under_other_names_types_and_prefixes(models):
    state = models["base"].state_dict()
    for changed in (
        state,
        {f"module.{k}": v for k, v in state.items()},
        {f"net.backbone.{i}": v for i, v in enumerate(state.values())},
        {k: v.half() for k, v in state.items()},
        {k: v.bfloat16() for k, v in state.items()},
    ):
        found = compare(models["base"], Held(changed))
        assert found.verdict is Verdict.COPY, next(iter(changed))
        assert (found.share, found.frozen, found.share_of_base) == (1, 1, 1)


def test_tuning_in_full_leaves_all_layers_alike_and_none_equal(models):
    found = compare(models["base"], models["full"])
    assert found.verdict is Verdict.TUNED
    assert set(statuses(found).values()) == {Status.TUNED}
    assert found.log10_p < -20
    layer = next(x for x in found.layers if x.base == "6.weight")
    a, b = (models[n][6].weight.detach().double() for n in ("base", "full"))
    cosine = float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
    assert layer.cosine == pytest.approx(cosine, abs=1e-4)
    assert layer.change == pytest.approx(float((b - a).norm() / a.norm()), rel=1e-3)


def test_frozen_layers_are_told_from_a_new_head(models):
    found = compare(models["base"], models["head"])
    assert found.verdict is Verdict.TUNED
    got = statuses(found)
    assert got.pop("8.weight") is Status.OTHER
    assert set(got.values()) == {Status.IDENTICAL}
    head = 64 * 10
    total = sum(p.numel() for n, p in models["base"].named_parameters() if p.ndim > 1) - 16 * 9
    assert found.frozen == pytest.approx((total - head) / total)


def test_training_apart_on_the_same_rows_is_another_model(models):
    found = compare(models["base"], models["apart"])
    assert found.verdict is Verdict.ARCHITECTURE
    assert found.log10_p > -3
    assert found.share == 0


def test_gains_of_norms_that_all_models_start_with_are_no_evidence():
    torch.manual_seed(0)

    def made():
        return torch.nn.Sequential(
            torch.nn.Linear(64, 300), torch.nn.BatchNorm1d(300), torch.nn.Linear(300, 64),
            torch.nn.LayerNorm(64),
        )  # fmt: skip

    found = compare(made(), made())
    assert found.verdict is Verdict.ARCHITECTURE
    gains = next(x for x in found.layers if x.base == "1.weight")
    assert gains.cosine == pytest.approx(1)
    assert not gains.telling


def test_the_true_base_comes_first_of_several(models):
    other = train(fresh(7), *(v[:300] for v in images()), 0, epochs=1)
    small = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 10))
    found = trace(models["full"], [small, models["apart"], models["base"], other])
    assert found[0].verdict is Verdict.TUNED
    assert [f.verdict.related for f in found] == [True, False, False, False]
    assert found[-1].verdict is Verdict.UNRELATED
    # Of two relatives the nearer one: what was tuned once more is nearer to its own base.
    x, y = images()
    again = fresh(1)
    again.load_state_dict(models["full"].state_dict())
    train(again, x[:300], y[:300], 5, epochs=1)
    nearest = trace(again, [models["base"], models["full"]])[0]
    assert nearest.cosine == pytest.approx(compare(models["full"], again).cosine)
    assert nearest.cosine > compare(models["base"], again).cosine


def test_layers_in_another_order_and_numbered_anew_are_found():
    torch.manual_seed(0)
    state = {f"blocks.{i}.w": torch.randn(40, 40) for i in range(6)}
    kept = {f"blocks.{i - 2}.w": state[f"blocks.{i}.w"] + 0.1 * torch.randn(40, 40)
            for i in range(2, 6)}  # fmt: skip
    found = compare(Held(state), Held(kept))
    assert found.verdict is Verdict.TUNED
    met = {x.tuned: x.base for x in found.layers if x.tuned}
    assert met == {f"blocks.{i}.w": f"blocks.{i + 2}.w" for i in range(4)}
    dropped = {x.base for x in found.layers if x.status is Status.DROPPED}
    assert dropped == {"blocks.0.w", "blocks.1.w"}
    turned = compare(Held(state), Held({f"t{k}": v.t() for k, v in reversed(state.items())}))
    assert turned.share == 1


def test_new_and_reshaped_layers_are_told():
    torch.manual_seed(0)
    body = torch.randn(80, 40)
    base = {"body.weight": body, "head.weight": torch.randn(10, 80)}
    tuned = {"body.weight": body, "head.weight": torch.randn(7, 80), "extra": torch.randn(33, 44)}
    found = compare(Held(base), Held(tuned))
    got = {x.tuned: x.status for x in found.layers}
    assert got == {
        "body.weight": Status.IDENTICAL, "head.weight": Status.RESHAPED, "extra": Status.NEW,
    }  # fmt: skip


def test_a_longer_vocabulary_is_compared_by_the_rows_that_both_have():
    torch.manual_seed(0)
    words = torch.randn(500, 32)
    base = {"words.weight": words, "body.weight": torch.randn(40, 32)}
    longer = torch.cat([words + 0.1 * torch.randn(500, 32), torch.randn(2, 32)])
    found = compare(Held(base), Held({"words.weight": longer, "body.weight": torch.randn(40, 32)}))
    layer = found.layers[0]
    assert layer.status is Status.RESHAPED
    assert layer.cosine == pytest.approx(1 / np.sqrt(1.01), abs=1e-3)
    assert found.verdict is Verdict.TUNED
    assert found.share == pytest.approx(502 / 542)


def test_one_borrowed_layer_is_a_partial_copy():
    torch.manual_seed(0)
    words = torch.randn(200, 32)
    base = {"words": words, "body": torch.randn(400, 32)}
    found = compare(Held(base), Held({"words": words + 0.01, "body": torch.randn(400, 32)}))
    assert found.verdict is Verdict.PARTIAL
    assert found.share == pytest.approx(1 / 3)


def test_a_merged_adapter_is_told_from_tuning_in_full():
    torch.manual_seed(0)
    state = {f"{i}.w": torch.randn(160, 160) / 12 for i in range(4)}
    merged = {k: v + 0.05 * torch.randn(160, 8) @ torch.randn(8, 160) for k, v in state.items()}
    full = {k: v + 0.05 * torch.randn(160, 160) for k, v in state.items()}
    adapter, whole = compare(Held(state), Held(merged)), compare(Held(state), Held(full))
    assert adapter.verdict is whole.verdict is Verdict.TUNED
    assert any("LoRA" in note for note in adapter.notes)
    assert not any("LoRA" in note for note in whole.notes)


def permuted(state):
    """The same function: the hidden channels of the digits network in another order, scaled."""
    made = {k: v.clone() for k, v in state.items()}
    rng = torch.Generator().manual_seed(3)
    one, two = torch.randperm(16, generator=rng), torch.randperm(32, generator=rng)
    for k in ("0.weight", "0.bias"):
        made[k] = made[k][one]
    made["2.weight"] = made["2.weight"][:, one][two]
    made["2.bias"] = made["2.bias"][two]
    made["6.weight"] = made["6.weight"].reshape(64, 32, 16)[:, two].reshape(64, 512)
    four = torch.randperm(64, generator=rng)
    made["6.weight"], made["6.bias"] = made["6.weight"][four], made["6.bias"][four]
    made["8.weight"] = made["8.weight"][:, four]
    return made


def test_a_copy_with_permuted_channels_is_found_and_models_trained_apart_are_not(models):
    hidden = network()
    hidden.load_state_dict(permuted(models["base"].state_dict()))
    x = torch.from_numpy(images()[0][:50])
    with torch.no_grad():
        assert torch.allclose(hidden(x), models["base"](x), atol=1e-4)
    found = compare(models["base"], hidden)
    assert found.verdict is Verdict.PERMUTED
    assert found.verdict.related
    tuned = network()
    tuned.load_state_dict(permuted(models["full"].state_dict()))
    assert compare(models["base"], tuned).verdict is Verdict.PERMUTED
    assert compare(models["apart"], hidden).verdict is Verdict.ARCHITECTURE


def test_of_linear_models_and_forests_only_equality_counts():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.random((400, 300))
    y = (x[:, :5].sum(axis=1) > 2.5).astype(int)
    a, again, b = (
        LogisticRegression().fit(x[s], y[s]) for s in (slice(300), slice(300), slice(350))
    )
    alike = compare(a, b)
    assert alike.layers[0].cosine > 0.9
    assert not alike.verdict.related
    assert compare(a, again).verdict is Verdict.COPY
    forests = [RandomForestClassifier(10, random_state=s).fit(x, y) for s in (0, 0, 1)]
    assert compare(forests[0], forests[1]).verdict is Verdict.COPY
    assert not compare(forests[0], forests[2]).verdict.related
    with pytest.raises(NotApplicable, match="no layer"):
        compare(RandomForestClassifier(2, max_depth=2).fit(x, y), forests[0])


def test_folders_are_compared_by_configuration_and_vocabulary(tmp_path, models):
    for name, size, tokens in (("base", 4, "a b c d"), ("model", 5, "a b d c e f")):
        folder = tmp_path / name
        folder.mkdir()
        torch.save(models["base"].state_dict(), folder / "weights.pt")
        config = {"hidden_size": 8, "layers": size, "_name_or_path": "org/base", "dtype": name}
        (folder / "config.json").write_text(json.dumps(config))
        vocabulary = {"model": {"vocab": {t: i for i, t in enumerate(tokens.split())}}}
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    (tmp_path / "model" / "README.md").write_text("---\nbase_model: org/card\n---\n# M\n")
    papers = compare(tmp_path / "base", tmp_path / "model").papers
    assert (papers.fields, papers.equal, papers.differing) == (2, 1, ("layers: 4 → 5",))
    assert papers.overlap == pytest.approx(4 / 6)
    assert papers.same_ids == pytest.approx(2 / 4)
    assert papers.claims == ("org/base", "org/card")


def test_real_backdoored_networks_and_what_they_were_made_into():
    if not SHARED.exists():
        pytest.skip("the folder 16_nad_backdoored_cifar is not here")
    s, t = (SHARED / f"WRN-16-1-{x}-model_best.pth.tar" for x in "ST")
    erased = SHARED / "erasing_net_WRN-16-1.tar"
    found = trace(erased, [t, s])
    assert [Path(f.base).name for f in found] == [s.name, t.name]
    cosines = [x.cosine for x in found[0].layers if x.telling]
    assert min(cosines) > 0.96
    assert found[0].verdict is Verdict.TUNED
    # Tuned for long: no layer looks alike to the eye, and none is alike by chance.
    assert compare(s, t).verdict is Verdict.TUNED
    assert compare(s, t).cosine < 0.2
