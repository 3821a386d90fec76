"""Patches and universal changes against planted truth and brute force."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.evasion import checks, controls  # noqa: E402
from crenel.evasion.gradients.draws import row_keys  # noqa: E402
from crenel.evasion.imagery import layout  # noqa: E402
from crenel.evasion.patches import controls as patch_controls  # noqa: E402
from crenel.evasion.patches.square import fit_patch, placed, side_of  # noqa: E402
from crenel.evasion.patches.universal import added, fit_universal  # noqa: E402
from crenel.subject import Subject, capabilities  # noqa: E402
from crenel.testing import check_check  # noqa: E402


def test_the_contract() -> None:
    report = check_check(checks.patches)
    for result in (report.weak, report.sound):
        assert len(result.exposures) == 2
        for exposure in result.exposures:
            assert exposure.health.ok, exposure.health
            assert list(exposure.harm.values) == sorted(exposure.harm.values)


def measured(subject: Subject, level: str = "quick") -> dict:
    got = checks.patches.measure(subject, Context("EVA-106", level=level))
    return {e.series: e for e in got.exposures} | {"findings": got.findings}


def test_a_bright_spot_turns_every_dark_image_and_no_faint_change_does() -> None:
    subject = patch_controls.one_spot_decides()
    got = measured(subject)
    patch, change = got["patch"], got["universal"]
    dark = (subject.test.y == 0).mean()
    # a patch of 1 % is two by two pixels: a white one is taken for the spot in any place
    assert patch.harm.values[0] == pytest.approx(dark, abs=0.12)
    assert change.harm.values[:3] == (0.0, 0.0, 0.0)
    (finding,) = got["findings"]
    assert finding.evidence.images
    assert finding.examples[0].images
    assert patch.n == 80  # only the half that was not fit on


def test_one_faint_pattern_turns_one_class_of_a_linear_network() -> None:
    subject = controls.narrow_margins()
    change = measured(subject)["universal"]
    larger = max(np.bincount(subject.test.y)) / len(subject.test.y)
    assert change.harm.values[0] == 0.0  # the pattern is fainter than 1.5 % nowhere
    assert 0.3 < change.harm.values[2] <= larger + 0.1


def test_a_patch_lies_whole_in_the_image_at_places_of_its_own() -> None:
    x = torch.zeros(40, 3, 9, 12)
    x += torch.rand(40, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.1
    patch = torch.full((3, 4, 4), 0.9)
    got = placed(x, patch, row_keys(x, 0), 0)
    assert ((got == 0.9).sum(dim=(1, 2, 3)) == 3 * 16).all()
    assert ((got != 0.9) == (got == x)).all()
    corners = {tuple(np.argwhere(g[0].numpy() == np.float32(0.9))[0]) for g in got}
    assert len(corners) > 15
    assert not torch.equal(got, placed(x, patch, row_keys(x, 0), 1))
    assert (side_of(0.01, 28, 28), side_of(1.0, 9, 12), side_of(1e-9, 5, 5)) == (3, 9, 1)


def test_a_targeted_change_reaches_its_class_and_stays_in_the_ball() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5)).eval()
    x = torch.rand(60, 1, 8, 8)
    y = net(x).argmax(1)
    got = fit_universal(net, x, y, 0.5, steps=60, seed=0, target=3)
    assert got.values.abs().max() <= 0.5
    assert (net(added(x, got.values)).argmax(1) == 3).float().mean() > 0.9
    assert got.end > got.start
    patch = fit_patch(net, x, y, 8, steps=40, seed=0, target=2)
    assert (net(placed(x, patch.values, row_keys(x, 0), 0)).argmax(1) == 2).all()


@pytest.mark.parametrize("shape", [(5, 8, 9), (5, 8, 9, 3), (5, 3, 8, 9)])
def test_images_of_any_layout_come_back_as_they_were(shape: tuple) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    into, back = layout(x.shape)
    assert into(x).shape == (5, 1 if len(shape) == 3 else 3, 8, 9)
    assert torch.equal(back(into(x)), x)


def test_tables_are_no_images() -> None:
    assert "images" not in capabilities(controls.one_field_decides())
    assert "images" in capabilities(controls.wide_margins())
