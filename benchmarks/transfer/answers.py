"""Small networks with planted triggers and clean ones, which only answer, judged by TRA-108.

Run with ``python benchmarks/transfer/answers.py DATA [--seed N] [--keep FOLDER] [--only NAME]``;
networks, data and options are those of ``planted.py``, and each network is wrapped as a function
that gives probabilities and nothing else. Claim: at least 0.9 of the planted ones are found, with
the right class, at 0.05 false alarms at most.

The rule (costs beside two small networks that are taught decisions on clean images) was chosen on
six planted networks of --seed 11 and two clean ones of --seed 20. On --seed 21 and 22, on which
nothing was chosen, 9 of 9 planted ones are found with the right class [0.66, 1] and 0 of 10 clean
ones alarm [0, 0.31]: small networks of MNIST and Fashion-MNIST, and one pair of pooled ones of
MNIST. Corners, patches, dots, blends and waves are all among them. So 0.9 and 0.05 are not shown
by so few. Normed networks and CIFAR-10 were not measured there; of --seed 11 dots in a small
network of CIFAR-10 stand out at p = 0.0003 (one control of 0.55 and one of 0.41 of the decisions),
a corner in a pooled one of MNIST at 0.0004, and a wave in a normed one of Fashion-MNIST stood out
at 0.01 under an earlier rule. 175,000 queries and 9 CPU seconds a network, 38 for pooled ones.

Of an endpoint that allows 80,000 queries a day (0.3 of the search) the classes of three planted
small networks of --seed 11 stand out at p = 0.0006 and less, of one that allows 50,000 (0.2) at
0.015 and less; whether clean ones stay silent there was not measured.

Controls taught the model's scores on clean images and mixtures, as is usual in distillation, learn
the trigger with them: a planted patch of MNIST leaves the class a cost of 1.2 there, and of 3.5 to
4 where decisions on clean images are taught (1.0 in the model itself, 4.3 to 7.9 in its other
classes), so that the class's chance was 0.04 to 0.5 and is now 0.0002 to 0.003.
"""

from __future__ import annotations

import numpy as np
import planted
import torch

from crenel.adapters import wrap
from crenel.check import Context
from crenel.subject import Data, Subject
from crenel.transfer.checks import hidden_by_answers


def answering(module: torch.nn.Module):
    """Probabilities of images, and nothing else, of a network."""

    def answer(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(x))).softmax(dim=1).numpy()

    return answer


def judged(case, seed: int, level: str, given: int):
    """The measurement of one network with so many of the test images."""
    model = wrap(answering(case.module), classes=list(range(10)), sample=case.x[:4])
    test = Data(case.x[:given], case.y[:given], np.arange(given))
    subject = Subject(case.name, model=model, test=test)
    return hidden_by_answers.measure(subject, Context(check="TRA-108", seed=seed, level=level))


if __name__ == "__main__":
    planted.main(judged, __doc__)
