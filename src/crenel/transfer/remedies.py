"""What lowers the curves of risk 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crenel.check import Context, Risk
from crenel.remedy import Treatment, remedy
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.finding import Finding


@remedy(
    "unlearn-trigger",
    risk=Risk.TRANSFER,
    title="Train the network to ignore the trigger that was recovered",
    checks=("TRA-104",),
    needs=("model", "classification", "gradients", "test", "images"),
)
def unlearn_trigger(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train a copy of the network on clean images, and on the same under the recovered trigger.

    The smallest triggers of the finding's class are searched again, and the network is trained to
    say of images as they are, and of images that carry one of them, what it said of them without;
    then what is left of a trigger is searched in the trained network and unlearned as well, three
    rounds in all. Images are the training rows where they are given, else test images that are
    not counted. The greatest learning rate that keeps the accuracy is taken; where it costs more
    than five points, or the triggers turn no fewer images beyond chance, nothing is changed.

    What was planted can be wider than what was recovered: the finding's check is run again on the
    result, and a model from whoever can be trusted is better than a mended one.

    References: Wang et al., "Neural Cleanse", 2019 (unlearning); Zeng et al., "Adversarial
    unlearning of backdoors via implicit hypergradient", 2022 (rounds of searching again).
    """
    from crenel.transfer.hidden.unlearning import unlearn

    return unlearn(subject, finding, context)


@remedy(
    "leave-base",
    risk=Risk.TRANSFER,
    title="Train the model away from its public base",
    checks=("TRA-102",),
    needs=("model", "classification", "gradients", "test", "base_model"),
)
def leave_the_base(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train all layers further, on inputs made on the base and away from the base's features.

    Rows are changed on the base alone, by the three methods of TRA-102, from the finding's epsilon
    on, and the model is trained on them under their own classes, with a penalty on the likeness
    (linear CKA) of what enters its last linear layer to what enters the base's. Several weights of
    the two, and plain training of all layers, are tried and one is chosen on held-out rows;
    `ways.csv` shows likeness, accuracy and standing rows of each. Nothing is changed unless more
    test rows stand beyond chance, at five points of accuracy at most.

    Rows are the training rows where they are given. Otherwise half of the test rows is spared for
    training, and the check is run again on the other half alone.

    The sentence also says how many rows stand against an attacker who knows of the remedy: one
    who tunes the base again, all layers, on up to 400 of the treated model's answers to rows of
    their own, and attacks through that (in TRA-102, the series "base tuned on answers"). Expect
    less against that one, and little at large changes: answers do more than the base. The
    white-box attack on the model itself may stay as strong as it was: `adversarial-training` is
    for that.

    References: Tramèr et al., "Ensemble adversarial training", 2018 (inputs made on fixed models);
    Kornblith et al., "Similarity of neural network representations revisited", 2019 (likeness);
    Wang et al., "With great training comes great vulnerability", 2018 (distance as a defence).
    """
    from crenel.transfer.base.leave_base import leave_base

    return leave_base(subject, finding, context)
