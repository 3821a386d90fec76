"""What lowers the curves of risk 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crenel.check import Context, Risk
from crenel.remedy import Treatment, remedy
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.finding import Finding


@remedy(
    "adversarial-training",
    risk=Risk.EVASION,
    title="Train the network on inputs changed against it",
    checks=("EVA-101",),
    needs=("model", "classification", "gradients", "train"),
)
def adversarial_training(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train the user's network further, from the weights that it has, on inputs changed against it.

    Four plans are trained on four fifths of the training rows: one noisy step of the gradient
    (N-FGSM) on half of the loss, on all of it, and at twice the radius, and TRADES. A watch on
    held-out rows rolls one-step training back where it collapses and goes on with several steps.
    Of the plans that cost at most five points of accuracy on held-out rows and make more of them
    stand under the cascade of EVA-101, beyond chance, the strongest is kept; where there is none
    nothing is changed.

    References: Madry et al., "Towards deep learning models resistant to adversarial attacks",
    2018; Zhang et al., "Theoretically principled trade-off between robustness and accuracy"
    (TRADES), 2019; Wong, Rice and Kolter, "Fast is better than free", 2020; de Jorge et al.,
    "Make some noise" (N-FGSM), 2022.
    """
    from crenel.evasion.hardening.adversarial_training import harden_network

    return harden_network(subject, finding, context)
