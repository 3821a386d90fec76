"""Broken defences: modules around any classifier that hide its gradients, not its weakness.

Planted controls for the health of gradient attacks. Each keeps the decisions of the network
inside it nearly as they are on honest rows, so that the network's own robust accuracy is the
truth; a plain attack on cross-entropy reports most of them as robust. The kinds are those of
Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security" (2018), Tramèr
et al., "On adaptive attacks to adversarial example defenses" (2020), and Carlini et al., "On
evaluating adversarial robustness" (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import shaped, torch

functional = torch.nn.functional


class Defence(torch.nn.Module):  # type: ignore[misc]
    """A defence around a network.

    Parameters
    ----------
    inner : torch.nn.Module
        From rows (n, …) in [0, 1] to logits (n, k); shared, not copied.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def settle(self, x: Any) -> Defence:
        """Take what the defence needs to know from honest rows; the defence itself."""
        return self

    def before(self, x: Any) -> Any:
        """What the network is given in place of the rows, shaped as they are."""
        return x

    def after(self, z: Any) -> Any:
        """What is answered in place of the logits."""
        return z

    def forward(self, x: Any) -> Any:
        """Answers, shape (n, k)."""
        return self.after(self.inner(self.before(x)))


class RoundedInput(Defence):
    """Values are rounded to eight levels: no gradient anywhere."""

    def before(self, x: Any) -> Any:
        """Rounded rows."""
        return torch.round(x * 7) / 7


class TransformedInput(Defence):
    """Quantised in the frequency domain, as JPEG does, outside torch: the graph is cut."""

    def before(self, x: Any) -> Any:
        """Rows whose cosine coefficients are whole multiples of 0.25."""
        from scipy.fft import dctn, idctn

        axes = (-2, -1) if x.ndim == 4 else (-1,)
        coarse = np.round(dctn(_array(x), axes=axes, norm="ortho") / 0.25) * 0.25
        return _tensor(np.clip(idctn(coarse, axes=axes, norm="ortho"), 0, 1), x)


class FilteredInput(Defence):
    """A median over three neighbours, outside torch: the graph is cut."""

    def before(self, x: Any) -> Any:
        """Rows whose isolated values are gone."""
        from scipy.ndimage import median_filter

        return _tensor(median_filter(_array(x), size=(*[1] * (x.ndim - 1), 3)), x)


class ThermometerInput(Defence):
    """Each value becomes the share of sixteen thresholds that it passes (Buckman et al., 2018)."""

    def before(self, x: Any) -> Any:
        """Rows in steps of a sixteenth, by comparisons that have no gradient."""
        levels = (torch.arange(16, device=x.device, dtype=x.dtype) + 0.5) / 16
        return (x.unsqueeze(-1) > levels).to(x.dtype).mean(dim=-1)


class DetachedInput(Defence):
    """The rows are taken out of the graph on their way in."""

    def before(self, x: Any) -> Any:
        """The same rows, without history."""
        return x.detach()


class ShatteredInput(Defence):
    """A fast ripple on each value: its slope, of either sign, drowns the one that matters."""

    def before(self, x: Any) -> Any:
        """Rows moved by at most 0.01."""
        return x + 0.01 * torch.sin(3000.0 * x + 2.0)


class NarrowedInput(Defence):
    """A network that cuts its input to [0.02, 0.98]: black and white have no gradient."""

    def before(self, x: Any) -> Any:
        """Rows cut at both ends."""
        return x.clamp(0.02, 0.98)


class NoisyInput(Defence):
    """Gaussian noise at each call."""

    def before(self, x: Any) -> Any:
        """Rows with noise of deviation 0.1."""
        return x + 0.1 * torch.randn_like(x)


class DitheredInput(Defence):
    """Rounded to five levels after noise: random, and without a gradient at any draw."""

    def before(self, x: Any) -> Any:
        """Rows at random on one of the two levels next to each value."""
        return torch.floor(4.0 * x + torch.rand_like(x)) / 4.0


class ResizedInput(Defence):
    """Shrunk by up to a pixel and padded at a random place (Xie et al., 2018); rows are rolled."""

    def before(self, x: Any) -> Any:
        """Images of the same size, each batch placed at random."""
        if x.ndim != 4:
            return x * torch.empty_like(x[:, :1]).uniform_(0.9, 1.1)
        h, w = x.shape[2:]
        less = int(torch.randint(0, 2, (1,)))
        small = functional.interpolate(x, size=(h - less, w - less), mode="bilinear")
        left, top = (int(v) for v in torch.randint(0, less + 1, (2,)))
        return functional.pad(small, (left, less - left, top, less - top))


class DroppedInput(Defence):
    """Dropout that was left on."""

    def before(self, x: Any) -> Any:
        """Rows with a tenth of their values gone."""
        return functional.dropout(x, 0.1, training=True)


class BatchNormalisedInput(Defence):
    """Batch normalisation in training mode: a row's answer depends on its batch.

    Restores the mean and the deviation of honest rows, so that their batches pass nearly as
    they are.
    """

    mean, spread = 0.5, 0.25

    def settle(self, x: Any) -> Defence:
        """Measure mean and deviation."""
        self.mean, self.spread = float(x.mean()), float(x.std())
        return self

    def before(self, x: Any) -> Any:
        """Rows with the batch's mean and deviation exchanged for fixed ones."""
        flat = functional.batch_norm(x.flatten(1)[:, None], None, None, training=True)
        return (flat * self.spread + self.mean).reshape(x.shape)


class ScaledLogits(Defence):
    """Logits times a thousand: cross-entropy is flat in float32."""

    def after(self, z: Any) -> Any:
        """A thousandfold."""
        return 1000.0 * z


class SaturatedSoftmax(Defence):
    """Probabilities of a hundredfold logits: exactly 0 and 1 (Papernot et al., 2016)."""

    def after(self, z: Any) -> Any:
        """Probabilities."""
        return torch.softmax(100.0 * z, dim=1)


class SaturatedLogarithm(Defence):
    """Logarithms of such probabilities, cut at a millionth of a millionth."""

    def after(self, z: Any) -> Any:
        """Log-probabilities."""
        return torch.softmax(100.0 * z, dim=1).clamp_min(1e-12).log()


class SaturatedExponential(Defence):
    """The same saturation, written by hand: no softmax is called."""

    def after(self, z: Any) -> Any:
        """Shares of the largest."""
        e = torch.exp(100.0 * (z - z.amax(dim=1, keepdim=True)))
        return e / e.sum(dim=1, keepdim=True)


class DeadUnits(Defence):
    """A last layer of rectifiers with a bias that keeps all but one of them dead."""

    def after(self, z: Any) -> Any:
        """One for the decision, zero for what is behind by a fiftieth."""
        return torch.relu(1.0 - torch.relu(50.0 * (z.amax(dim=1, keepdim=True) - z)))


class SwitchedLogits(Defence):
    """Where the network is sure, a constant is answered in place of its logits."""

    def after(self, z: Any) -> Any:
        """Logits near the boundary, ten times the decision elsewhere."""
        top = z.topk(2, dim=1).values
        sure = (top[:, :1] - top[:, 1:]) > 0.05
        return torch.where(sure, 10.0 * functional.one_hot(z.argmax(dim=1), z.shape[1]), z)


class HalfPrecision(Defence):
    """Probabilities in sixteen bits: small slopes are flushed to zero."""

    def after(self, z: Any) -> Any:
        """Probabilities, by way of float16."""
        return torch.softmax(20.0 * z, dim=1).half().float()


class ConstantDetector(Defence):
    """Rows that change when they are smoothed are answered with constant logits.

    An honest row seldom is; an adversarial one is answered with the decision of its smoothed
    copy, as a vector without gradient.
    """

    def forward(self, x: Any) -> Any:
        """Logits, shape (n, k)."""
        z = self.inner(x)
        with torch.no_grad():
            levels = torch.round(x * 15) / 15
            calm = self.inner(levels)
            alarm = (calm.softmax(1) - z.softmax(1)).abs().amax(dim=1, keepdim=True) > 0.02
            constant = 10.0 * functional.one_hot(calm.argmax(dim=1), z.shape[1])
        return torch.where(alarm, constant.to(z.dtype), z)


class CustomBackward(Defence):
    """A function of its own whose backward pass gives zeros."""

    def before(self, x: Any) -> Any:
        """The same rows."""
        return _Zero.apply(x)


class _Zero(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return torch.zeros_like(gradient)


class WinnersOnly(Defence):
    """Only the stronger half of each hidden layer passes (k-WTA: Xiao et al., 2020).

    Stands in for the rectifiers of the network inside, found by their class.
    """

    def forward(self, x: Any) -> Any:
        """Logits, shape (n, k)."""
        units = [m for m in self.inner.modules() if isinstance(m, torch.nn.ReLU)]
        hooks = [m.register_forward_hook(_winners) for m in units]
        try:
            return self.inner(x)
        finally:
            for hook in hooks:
                hook.remove()


def _winners(module: Any, given: Any, out: Any) -> Any:
    flat = out.flatten(1)
    least = flat.topk(max(1, flat.shape[1] // 2), dim=1).values[:, -1]
    return out * (out >= shaped(least, out))


def _array(x: Any) -> NDArray[np.float64]:
    return np.asarray(x.detach().cpu().numpy(), dtype=np.float64)


def _tensor(values: NDArray[np.float64], like: Any) -> Any:
    return torch.from_numpy(values).to(dtype=like.dtype, device=like.device)


#: Every defence by name; each takes the network that it goes around.
DEFENCES: dict[str, Callable[[Any], Defence]] = {
    "input rounded": RoundedInput,
    "cosine quantisation outside torch": TransformedInput,
    "median filter outside torch": FilteredInput,
    "thermometer": ThermometerInput,
    "detached": DetachedInput,
    "shattered": ShatteredInput,
    "wrong clip range": NarrowedInput,
    "noise": NoisyInput,
    "dithered": DitheredInput,
    "random resize and pad": ResizedInput,
    "dropout left on": DroppedInput,
    "batch norm in training mode": BatchNormalisedInput,
    "logits times 1000": ScaledLogits,
    "softmax, saturating temperature": SaturatedSoftmax,
    "log-softmax, saturating temperature": SaturatedLogarithm,
    "exponential, saturating temperature": SaturatedExponential,
    "dead rectifiers": DeadUnits,
    "switch": SwitchedLogits,
    "float16": HalfPrecision,
    "constant from a detector": ConstantDetector,
    "zero backward": CustomBackward,
    "k winners take all": WinnersOnly,
}
#: Those that answer at random: judged by the majority of fixed draws.
RANDOM = frozenset({"noise", "dithered", "random resize and pad", "dropout left on"})
