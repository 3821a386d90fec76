"""Write the demo's files and its crenel.toml: an ordinary project that anyone can audit again."""

from __future__ import annotations

from pathlib import Path

from crenel.demo import digits, phishing
from crenel.errors import UsageError

CONFIG = """\
# Two real models on data that ships inside installed packages. Audit them again: crenel audit

[target.phishing]            # gradient-boosted trees that tell phishing pages from honest ones
model = "phishing.joblib"
train = "phishing-train.csv" # the demo turned {spoilt} of its labels, all from {feed}
test = "phishing-test.csv"
label = "phishing"
source = "feed"              # who reported the page
record_id = "id"

[target.phishing.access]
attacker = "scores"
queries_per_day = 10000

[target.phishing.learning]   # a second detector, which learns from every report as it comes
learner = "crenel.demo.phishing:learner"
stream = "phishing-stream.csv"
samples_per_day = 1000

[target.digits]              # a small CNN, tuned from a public base
model = "digits.pt"
build = "crenel.demo.digits:network"
train = "digits-train.npz"
test = "digits-test.npz"

[target.digits.base]
model = "digits-base.pt"
build = "crenel.demo.digits:network"
origin = "hub:crenel-demo/digits-base@main"
card = "digits-base-card.md"

[audit]
time = "{time}"
seed = {seed}
level = "quick"
"""


def write(folder: Path, *, seed: int, time: str) -> Path:
    """Train both models and write everything; return the path of crenel.toml.

    Raises
    ------
    UsageError
        Where the folder cannot be written.
    """
    from crenel.training.threads import one_core

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_core():  # both models are so small that threads would only wait for each other
            spoilt = phishing.write(folder, seed)
            digits.write(folder, seed)
        config = folder / "crenel.toml"
        text = CONFIG.format(spoilt=len(spoilt), feed=phishing.BAD_FEED, time=time, seed=seed)
        config.write_text(text, encoding="utf-8")
        truth = folder / "spoilt-rows.txt"
        truth.write_text("\n".join(spoilt) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the demo cannot write to {folder}: {error.strerror}; name another with --out"
        ) from error
    return config
