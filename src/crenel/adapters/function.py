"""Any Python function that answers rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, index_of, two_columns
from crenel.adapters.rows import narrow
from crenel.adapters.texts import texts_of, trained, wants_texts
from crenel.errors import NotApplicable, SubjectError
from crenel.model import Model, Task

#: A user's training may seed and draw from the global generators of NumPy or torch: two at once
#: would draw from each other's, and the same seed would give other figures each time.
_ONE_AT_A_TIME = threading.RLock()
#: What an answer is: labels (n,), probabilities (n, k), that of the second class (n,), values (n,).
Form = Literal["labels", "matrix", "second", "values"]


def wrap_function(
    native: Callable[[Any], Any],
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of a function; see `crenel.adapters.wrap`.

    A function that cannot answer a table of one column of texts is given the texts as a list.
    """
    texts = wants_texts(native, None if sample is None else narrow(sample, columns))
    return wrap_answers(
        lambda x: native(texts_of(narrow(x, columns)) if texts else narrow(x, columns)),
        native,
        framework="function",
        classes=classes,
        task=task,
        fit=fit,
        columns=columns,
        sample=sample,
        description=f"the function {getattr(native, '__name__', type(native).__name__)}",
    )


def wrap_answers(
    ask: Callable[[Any], Any],
    native: Any,
    *,
    framework: str,
    classes: Sequence[Any] | None,
    task: Task | None,
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    sample: Any,
    description: str,
    remote: bool = False,
) -> Model:
    """A `Model` of anything that answers rows in one of the forms of `Form`."""
    answer = None if sample is None or not len(sample) else to_array(ask(sample))
    given = None if classes is None else as_labels(classes)
    form = None if answer is None else form_of(answer, given, task)
    if form == "values" or task == "regression":
        return _regression(ask, native, framework, fit, columns, description, remote)
    known = _classes_of(answer, form, given, description)
    answers = Answers(ask, known, form)
    return Model(
        framework=framework,
        task="classification",
        classes=known,
        decide=answers.decide,
        score=None if form == "labels" else answers.score,
        fit=user_fit(fit, known, "classification", columns) if fit else None,
        native=native,
        final=native,
        remote=remote,
        description=description,
    )


class Answers:
    """The two views of one function's answers; its form is found at the first call if not given."""

    def __init__(self, ask: Callable[[Any], Any], classes: NDArray[Any], form: Form | None) -> None:
        self.ask = ask
        self.classes = classes
        self.form = form

    def __call__(self, x: Any) -> NDArray[Any]:
        """The function's own answer to n rows, as an array."""
        answer = to_array(self.ask(x))
        if len(answer) != len(x):
            raise SubjectError(
                f"the model returned {len(answer)} answers for {len(x)} rows; return one for each"
            )
        if self.form is None:
            self.form = form_of(answer, self.classes, None)
        return answer

    def decide(self, x: Any) -> NDArray[np.int64]:
        """Class indices (n,)."""
        if not len(x):
            return np.zeros(0, dtype=np.int64)
        answer = self(x)
        if self.form == "matrix":
            return np.asarray(answer.argmax(axis=1), dtype=np.int64)
        if self.form == "second":
            return (answer.reshape(-1) > 0.5).astype(np.int64)
        return index_of(answer, self.classes)

    def score(self, x: Any) -> NDArray[np.float64]:
        """Probabilities (n, k)."""
        if not len(x):
            return np.zeros((0, len(self.classes)))
        answer = self(x)
        if self.form == "matrix":
            return answer.astype(np.float64)
        if self.form == "second":
            return two_columns(answer)
        raise NotApplicable("the model shows decisions only, no scores")


def form_of(answer: NDArray[Any], classes: NDArray[Any] | None, task: Task | None) -> Form:
    """What a function's answer to some rows is.

    Raises
    ------
    SubjectError
        Where it has more than two axes.
    """
    if answer.ndim > 2 or answer.ndim == 0:
        raise SubjectError(
            f"the model returned an array of shape {answer.shape}; "
            "return labels (n,) or probabilities (n, classes)"
        )
    if answer.ndim == 2 and answer.shape[1] > 1:
        return "matrix"
    flat = answer.reshape(-1)
    if task == "regression":
        return "values"
    if flat.dtype.kind != "f" or _are_labels(flat, classes):
        return "labels"
    if ((flat >= 0) & (flat <= 1)).all():
        return "second"
    return "labels" if classes is not None else "values"


def _are_labels(flat: NDArray[Any], classes: NDArray[Any] | None) -> bool:
    if classes is None:
        return bool(np.isin(flat, (0.0, 1.0)).all())
    return classes.dtype.kind in "biuf" and bool(np.isin(flat, classes.astype(np.float64)).all())


def _classes_of(
    answer: NDArray[Any] | None, form: Form | None, given: NDArray[Any] | None, description: str
) -> NDArray[Any]:
    if given is not None:
        if form == "matrix" and answer is not None and answer.shape[1] != len(given):
            raise SubjectError(
                f"the model returned {answer.shape[1]} scores for each row, and there are "
                f"{len(given)} classes; return one for each class, in order"
            )
        if form == "second" and len(given) != 2:
            raise SubjectError(
                f"the model returned one score for each row, and there are {len(given)} classes; "
                "return one score for each class, in order"
            )
        return given
    if answer is None:
        raise SubjectError(f"the classes of {description} are not known; name them: classes = […]")
    if form == "labels":
        return np.unique(answer.reshape(-1))
    return np.arange(2 if form == "second" else answer.shape[1])


def to_array(answer: Any) -> NDArray[Any]:
    """A function's answer as an array: lists, frames, Series and tensors are accepted."""
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu().numpy()
    elif hasattr(answer, "to_numpy"):
        answer = answer.to_numpy()
    return np.asarray(answer)


def user_fit(
    fit: Callable[[Any, Any, int], Any],
    classes: NDArray[Any],
    task: Task,
    columns: Sequence[str] | None,
) -> Callable[[Any, NDArray[Any], int], Model]:
    """The user's ``fit(x, labels, seed)`` as ``fit(x, indices, seed) -> Model``."""

    def refit(x: Any, y: NDArray[Any], seed: int) -> Model:
        from crenel.adapters.wrapping import wrap

        target = y if task == "regression" else classes[y]
        with _ONE_AT_A_TIME:
            new = trained(fit, x, target, seed)
        names = None if task == "regression" else list(classes)
        return wrap(new, classes=names, task=task, fit=fit, columns=columns, sample=x[:32])

    return refit


def _regression(
    ask: Callable[[Any], Any],
    native: Any,
    framework: str,
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    description: str,
    remote: bool,
) -> Model:
    def decide(x: Any) -> NDArray[np.float64]:
        return np.asarray(to_array(ask(x)), dtype=np.float64).reshape(len(x))

    nothing = np.zeros(0)
    return Model(
        framework=framework,
        task="regression",
        classes=nothing,
        decide=decide,
        fit=user_fit(fit, nothing, "regression", columns) if fit else None,
        native=native,
        final=native,
        remote=remote,
        description=description,
    )
