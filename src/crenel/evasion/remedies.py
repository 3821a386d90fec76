"""What lowers the curves of risk 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crenel.check import Context, Risk
from crenel.evasion.text.remedy import normalise_text as normalise_text
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


@remedy(
    "robust-trees",
    risk=Risk.EVASION,
    title="Train the trees again with wider margins",
    checks=("EVA-103", "EVA-102"),
    needs=("model", "classification", "trees", "fit", "train"),
)
def robust_trees(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train the user's trees again so that moving their numbers a little turns fewer decisions.

    Ways to train are compared by cross-validation on training rows: the user's own; fewer, flatter
    or more strongly regularised trees; few bins; monotone constraints where a number goes with the
    class in one direction; for two classes, a forest whose splits hold against the worst placement
    of the rows within reach (GROOT); then the best of them with constraints, and trained on its
    own exact witnesses. A row counts as standing where the exact search of EVA-103 proves that no
    change within the radius turns it. The way with the most rows standing and decided rightly, at
    five points of accuracy at most, is trained on all rows; where none gains beyond chance nothing
    is changed. The result needs nothing of crenel's to predict.

    References: Vos and Verwer, "Efficient training of robust decision trees against adversarial
    examples" (GROOT), 2021; Chen et al., "Robust decision trees against adversarial examples",
    2019; Kantchelian, Tygar and Joseph, "Evasion and hardening of tree ensemble classifiers", 2016.
    """
    from crenel.evasion.hardening.tree_hardening import harden_trees

    return harden_trees(subject, finding, context)


@remedy(
    "restore-inputs",
    risk=Risk.EVASION,
    title="Put inputs back before they are decided",
    checks=("EVA-101",),
    needs=("model", "classification", "gradients", "train"),
)
def restore_inputs(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Round, smooth or re-encode inputs before the network sees them, where that really helps.

    Fewer bits for each number, and for images the median of neighbours and rounded cosine blocks
    as in JPEG, are each attacked by who knows of them: through the restoration with rounding taken
    as the identity (BPDA), around it by the gradients of the bare network, and with what turned
    the bare network. Only what holds against all three, at five points of accuracy at most, is
    put before the network; mostly that is none, and the treatment says so with both figures.

    References: Xu, Evans and Qi, "Feature squeezing", 2018; Guo et al., "Countering adversarial
    images using input transformations", 2018; Athalye, Carlini and Wagner, "Obfuscated gradients
    give a false sense of security", 2018.
    """
    from crenel.evasion.hardening.watching import restore_inputs

    return restore_inputs(subject, finding, context)


@remedy(
    "watch-inputs",
    risk=Risk.EVASION,
    title="Say what detectors of changed inputs catch",
    checks=("EVA-101",),
    needs=("model", "classification", "gradients", "train"),
)
def watch_inputs(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Measure four detectors on attacks that do not know of them, and on one that does.

    Feature squeezing, Mahalanobis distance, nearest neighbours and the margin are set to the
    strictest share of false alarms that the held-out rows can show (0.1 to 5 %). The model is left
    as it is: a detector is a signal for who watches, and the table ``detectors`` says which of
    them fall to an attacker who minimises the margin and the detector's score at once.

    References: Xu, Evans and Qi, "Feature squeezing", 2018; Lee et al., "A simple unified
    framework for detecting out-of-distribution samples and adversarial attacks", 2018; Papernot
    and McDaniel, "Deep k-nearest neighbors", 2018; Carlini and Wagner, "Adversarial examples are
    not easily detected", 2017; Tramèr et al., "On adaptive attacks to adversarial example
    defenses", 2020.
    """
    from crenel.evasion.hardening.watching import watch_inputs

    return watch_inputs(subject, finding, context)


@remedy(
    "limit-fields",
    risk=Risk.EVASION,
    title="Tell the model less of the columns that turn its decisions",
    checks=("EVA-102",),
    needs=("model", "classification", "fit", "train", "table"),
)
def limit_fields(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train the user's model without the columns that turn most decisions, or with less of them.

    The columns that the finding names are removed one by one and together, and numbers among them
    are put into eight or three buckets of about as many rows. Each way is trained on a part of the
    training rows and attacked on others by the search of EVA-102 with two fields; the way with
    the most rows standing and decided rightly, at five points of accuracy at most, is trained on
    all rows. Where none gains beyond chance, or test data shows a greater loss, nothing is changed.
    """
    from crenel.evasion.hardening.field_hardening import limit_fields

    return limit_fields(subject, finding, context)


@remedy(
    "randomized-smoothing",
    risk=Risk.EVASION,
    title="Decide by the mean over noisy copies, with a proven radius",
    checks=("EVA-101",),
    needs=("model", "classification", "gradients", "train"),
)
def randomized_smoothing(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Let the network decide by the mean over 16 noisy copies, after training on noise.

    Three widths of the noise are tried: for each the network is trained further on noisy rows, and
    held-out rows are decided and certified by the vote over 1,000 copies. The width with the best
    accuracy and proven L2 radius is put in place where, under the cascade of EVA-101 through the
    mean, more rows stand beyond chance at five points of accuracy at most. Every decision then
    costs 16 passes; the radius is proven of the vote over fresh noise (``certificate``), which the
    mean approximates.

    References: Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized
    smoothing", 2019; Salman et al., "Provably robust deep learning via adversarially trained
    smoothed classifiers", 2019.
    """
    from crenel.evasion.hardening.smoothed import smooth_network

    return smooth_network(subject, finding, context)
