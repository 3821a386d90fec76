"""Slopes written out are those of the losses' own graph."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch")

from crenel.evasion.gradients.descent import Loss, losses  # noqa: E402
from crenel.evasion.gradients.slopes import loss_and_slope  # noqa: E402


@pytest.mark.parametrize("kind", get_args(Loss))
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_losses_and_slopes_are_those_of_the_graph(kind: str, classes: int) -> None:
    draw = torch.Generator().manual_seed(classes)
    z = torch.randn(50, classes, generator=draw, dtype=torch.float64)
    z[:5] = 0.0  # ties
    z[5:10] *= 1000
    y = torch.randint(classes, (50,), generator=draw)
    target = (y + torch.randint(1, classes, (50,), generator=draw)) % classes
    z.requires_grad_(True)
    expected = losses(z, y, kind, target)
    (gradient,) = torch.autograd.grad(expected.sum(), z)
    value, slope = loss_and_slope(z.detach(), y, kind, target)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(slope, gradient)
