"""Small networks with planted triggers and clean ones, which only answer, judged by TRA-108.

Run with ``python benchmarks/transfer/answers.py DATA [--seed N] [--keep FOLDER] [--only NAME]``;
networks, data and options are those of ``planted.py``, and each network is wrapped as a function
that gives probabilities and nothing else. Claim: at least 0.9 of the planted ones are found, with
the right class, at 0.05 false alarms at most.

The rule (costs beside two small networks that are taught decisions on clean images) was chosen on
six planted networks of --seed 11 and two clean ones of --seed 20. With a convolutional network and
a linear one as controls, on seeds that nothing was chosen on: --seed 21 and 22, small networks of
MNIST and Fashion-MNIST and one pooled pair, 9 of 9 found with the right class [0.66, 1], 0 of 10
alarms [0, 0.31]; --seed 13, all data and architectures, 18 of 18 found [0.81, 1] and 2 of 20 alarms
[0.01, 0.32], both on normed networks of Fashion-MNIST and their class 8, which small patches lead
to by nature. So the linear control gave way to one with batch normalisation. Of --seed 13, where
that was chosen, the three normed clean ones looked at again are silent (p = 0.05 and more) and six
of six planted ones found; of normed networks of --seed 14 a wave that TRA-104 misses and a corner
are found, dots and a wave in two of CIFAR-10 are not, two clean ones of Fashion-MNIST are silent,
and one of MNIST alarms, as it does there. The rest was not run again, so that 0.05 is not shown.
175,000 queries, 11 to 120 CPU seconds a network.

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
