"""The library's one call: a planted trigger comes back as arrays that work by themselves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.errors import UsageError  # noqa: E402
from crenel.transfer.hidden import controls, recover_triggers  # noqa: E402


def test_a_planted_trigger_comes_back_and_works_without_crenel():
    network = controls.network(planted=True)
    x, _ = controls.shapes(200, seed=3)
    patch, blend, wave = recover_triggers(network, x)
    assert (patch.family, blend.family, wave.family) == ("patch", "blend", "wave")
    assert patch.label == controls.TARGET
    assert patch.stands_out
    assert patch.healthy
    assert patch.turned.low > patch.rival + 0.3
    assert patch.mask.sum() == patch.size
    new, y = controls.shapes(300, seed=4)
    own = new * (1 - patch.mask) + patch.mask * patch.values
    with torch.no_grad():
        decided = network(torch.from_numpy(own.astype(np.float32))).argmax(dim=1).numpy()
    assert (decided[y != controls.TARGET] == controls.TARGET).mean() > 0.8
    np.testing.assert_allclose(patch.on(new), own, atol=1e-6)
    assert patch.on(new).dtype == new.dtype
    # the patch lies where the trigger was planted
    assert patch.mask[0, :4, :4].sum() >= 0.5 * patch.size


def test_a_model_without_gradients_is_said():
    x, _ = controls.shapes(60, seed=3)
    with pytest.raises(UsageError, match="gradients"):
        recover_triggers(lambda rows: np.eye(4)[np.zeros(len(rows), dtype=int)], x)
