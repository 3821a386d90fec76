"""A network that decides by the mean over noisy copies of a row, and how it is made."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.evasion.gradients.network import decisions, generator, logits_of, still, torch
from crenel.evasion.hardening.adversarial_training import rewrapped
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.scene import Outcome, Scene, standing
from crenel.evasion.hardening.training import BATCH, RATE, Rows, trainable
from crenel.evasion.hardening.verdict import MOST_LOST, paired, percent, worth
from crenel.remedy import Treatment
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.evasion.certify.smoothing import Smoothed
    from crenel.finding import Finding

#: Noisy copies of a decision, of a certificate, rows certified, epochs with noise.
COPIES, DRAWS, CERTIFIED, EPOCHS = 16, 1000, 80, 8
#: Standard deviations tried, as shares of the legal range.
SIGMAS = (0.06, 0.12, 0.25)


class SmoothedModule(torch.nn.Module):  # type: ignore[misc]
    """The mean of a network's probabilities over noisy copies of each row, as logits.

    Decisions approximate the vote that `certificate` proves radii of (Cohen, Rosenfeld and
    Kolter, 2019). The noise is drawn once, so that the same row is always decided alike; it is
    not a secret, and gradients pass through the mean (Salman et al., 2019), so that who attacks
    it attacks all copies at once.

    Parameters
    ----------
    body : torch.nn.Module
        The user's own, from rows to logits (n, k); what it returns otherwise is ``form``.
    form : str
        See `crenel.adapters.torch.Logits`.
    sigma : float
        Standard deviation of the noise, as a share of the legal range.
    scale : Scale
    shape : tuple of int
        Of one row.
    copies : int
        Noisy copies of each row.
    seed : int
    """

    def __init__(
        self, body: Any, form: str, sigma: float, scale: Scale, shape: tuple[int, ...],
        copies: int = COPIES, seed: int = 0,
    ) -> None:  # fmt: skip
        from crenel.adapters.torch import Logits

        super().__init__()
        self.inner, self.sigma = Logits(body, form), sigma
        noise = torch.randn((copies, *shape), generator=generator(seed))
        self.register_buffer("span", torch.as_tensor(scale.span, dtype=torch.float32))
        self.register_buffer("noise", sigma * noise * self.span)

    def forward(self, x: Any) -> Any:
        """Logs of mean probabilities (n, k)."""
        many = (x[:, None] + self.noise).flatten(0, 1)
        p = torch.softmax(self.inner(many), dim=1).reshape(len(x), len(self.noise), -1).mean(dim=1)
        return torch.log(p.clamp(min=1e-12))

    def certificate(self, classes: int, alpha: float = 0.001) -> Smoothed:
        """The vote over fresh noise, which proves L2 radii; noise in units of the rows.

        Parameters
        ----------
        classes : int
            Number of classes k.
        alpha : float
            Chance that one row's radius is wrong.

        Raises
        ------
        crenel.errors.UsageError
            Where the legal range differs between numbers: then there is no one sigma.
        """
        from crenel.errors import UsageError
        from crenel.evasion.certify.smoothing import Smoothed

        if float(self.span.max() - self.span.min()) > 1e-6 * float(self.span.max()):
            raise UsageError("the columns have different ranges; certify rows in shares of them")
        sigma = self.sigma * float(self.span.max())
        return Smoothed(_decide(self.inner), classes, sigma, alpha)


def _decide(module: Any) -> Any:
    def decide(x: NDArray[Any]) -> NDArray[np.int64]:
        return decisions(logits_of(module), torch.as_tensor(x, dtype=torch.float32))

    return decide


@dataclass(frozen=True)
class Trial:
    """One width of the noise.

    Attributes
    ----------
    sigma : float
    native : torch.nn.Module
        Takes the user's own rows.
    held : float
        Accuracy on held-out rows.
    radii : ndarray
        Proven L2 radii of held-out rows in shares of the range, 0 where wrong or not proven.
    """

    sigma: float
    native: Any
    held: float
    radii: NDArray[np.float64]

    @property
    def rank(self) -> float:
        """Accuracy, and the mean proven radius in units of the radii that are looked for."""
        return self.held + float(self.radii.mean() / np.sqrt(self.native.noise[0].numel()) * 4)


def smooth_network(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Put the mean over noisy copies in the network's place, where that is worth its price.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the model is not a torch module of the user's, or there are too few rows.
    """
    s = Scene.of(subject, finding, context)
    before = standing(s.start.unit, s.x, s.y, s.epsilon, context)
    trials = []
    for i, sigma in enumerate(SIGMAS):
        trials.append(_tried(s, sigma, context))
        context.progress((i + 1) / (len(SIGMAS) + 1))
        if context.expired:
            break
    floor = float(before.right.mean()) - MOST_LOST
    best = max(trials, key=lambda t: (t.held >= floor, t.rank))
    after = standing(s.scale.module(best.native), s.x, s.y, s.epsilon, context)
    return _treatment(subject, s, before, after, best)


def _treatment(
    subject: Subject, s: Scene, before: Outcome, after: Outcome, best: Trial
) -> Treatment:
    clean, robust = paired(before.right, after.right), paired(before.stands, after.stands)
    radius = float(np.median(best.radii))
    values = {
        "epsilon": s.epsilon, "sigma": best.sigma, "accuracy_before": clean.before,
        "accuracy_after": clean.after, "robust_before": robust.before,
        "robust_after": robust.after, "proven_radius": radius,
    }  # fmt: skip
    told = (
        f"decisions by the mean over {COPIES} noisy copies, sigma {best.sigma:g} of the range: "
        f"{percent(robust.after)} of rows stand under attack at {100 * s.epsilon:.3g} % of the "
        f"range (before {percent(robust.before)}), half of held-out rows are proven to an L2 "
        f"radius of {radius:.3g}, and accuracy goes from {percent(clean.before)} to "
        f"{percent(clean.after)}; each decision costs {COPIES} passes"
    )
    if not worth(clean, robust):
        return Treatment(
            subject=subject, sentence=f"nothing was changed, it is not worth its price ({told})",
            values=values,
        )  # fmt: skip
    hardened = rewrapped(s.model, best.native, s.train, None, s.scale)
    return Treatment(
        subject=subject.with_model(hardened), sentence=told, values=values, model=hardened.native
    )


def _tried(s: Scene, sigma: float, context: Context) -> Trial:
    from crenel.evasion.certify.smoothing import Smoothed

    seed, rows = context.derive_seed("sigma", sigma), s.rows
    unit = trained_on_noise(s.start.unit, rows, sigma, EPOCHS, seed)
    body, form, shape = s.start.native_of(unit), s.model.module.form, tuple(rows.x.shape[1:])
    native = SmoothedModule(body, form, sigma, s.scale, shape, seed=seed).eval()
    with still(native, seed):
        right = decisions(logits_of(s.scale.module(native)), rows.held_x)
        held = rows.held_y.cpu().numpy()
        few = rows.held_x[:CERTIFIED].cpu().numpy()
        vote = Smoothed(_decide(unit), s.model.k, sigma)
        proof = vote.certify(few, n=DRAWS, first=64, seed=seed)
    radii = np.where(proof.decision == held[:CERTIFIED], proof.radius, 0.0)
    return Trial(sigma, native, float((right == held).mean()), radii)


def trained_on_noise(unit: Any, rows: Rows, sigma: float, epochs: int, seed: int) -> Any:
    """A copy of a network trained further on noisy rows (Cohen, Rosenfeld and Kolter, 2019).

    Parameters
    ----------
    unit : torch.nn.Module
        Takes rows in [0, 1].
    rows : Rows
    sigma : float
        Standard deviation of the noise.
    epochs, seed : int
    """
    network = copy.deepcopy(unit)
    weights, draw = trainable(network), generator(seed)
    optimizer = torch.optim.Adam(weights, lr=RATE)
    logits = logits_of(network)
    with torch.enable_grad(), still(network, seed):
        network.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(rows.x), generator=draw).split(BATCH):
                if len(batch) < 2:  # cannot be normalised
                    continue
                x = rows.x[batch]
                noise = torch.randn(x.shape, generator=draw).to(x)
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(logits(x + sigma * noise), rows.y[batch])
                loss.backward()
                optimizer.step()
    return network.eval()
