"""ONNX models, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, index_of, softmax, spread, two_columns
from crenel.adapters.rows import batches, is_frame, narrow, to_numbers
from crenel.errors import MissingExtra, NotApplicable, SubjectError
from crenel.model import Model, Task

#: Rows on which a converted module must answer as ONNX Runtime does.
PROBES = 64

_NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def wrap_onnx(
    native: Any,
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of an ONNX Runtime session, or of an ONNX file's bytes or path.

    See `crenel.adapters.wrap`. Understood are the outputs of converted classifiers (a label with
    a tensor or a list of maps of probabilities) and single tensors of probabilities or logits.
    """
    session = native if hasattr(native, "get_inputs") else session_of(native)
    source = Inputs.of(session, columns)
    if task == "regression":
        return _model(native, "regression", np.zeros(0), fit, columns, source.values)
    form = source.form(sample)
    names, own = _classes_of(form, classes)
    where = np.arange(len(names)) if own is None else index_of(own, names)

    def score(x: Any) -> NDArray[np.float64]:
        if not len(x):
            return np.zeros((0, len(names)))
        return spread(form.probabilities(source.run(x)), where, len(names))

    def decide(x: Any) -> NDArray[np.int64]:
        if not len(x):
            return np.zeros(0, dtype=np.int64)
        out = source.run(x)
        if form.label is not None:
            return index_of(form.labels(out), names)
        p = spread(form.probabilities(out), where, len(names))
        return np.asarray(p.argmax(axis=1), dtype=np.int64)

    shown = score if form.scores is not None else None
    model = _model(native, "classification", names, fit, columns, decide, shown)
    return _with_gradients(model, native, form, where, source, sample)


def _with_gradients(
    model: Model, native: Any, form: Form, where: NDArray[Any], source: Inputs, sample: Any
) -> Model:
    """The same with a torch module, or with the reason why there is none in its description."""
    try:
        if model.score is None or form.scores is None or sample is None or not len(sample):
            raise NotApplicable("the ONNX model gives no gradients: no scores were seen on rows")
        try:
            from crenel.adapters.onnx_torch import checked_module
        except ImportError as error:
            raise NotApplicable("the ONNX model gives no gradients without torch") from error
        if len(source.inputs) != 1:
            raise NotApplicable("the ONNX model gives no gradients: it takes several inputs")
        rows = narrow(sample[:PROBES], source.columns)
        module = checked_module(
            file_of(native, source.session),
            form.scores,
            None if form.scale == "logits" else "probabilities",
            np.argsort(where) if len(where) == model.k else where,
            to_numbers(rows, np.float32),
            model.probabilities(sample[:PROBES]),
        )
    except (NotApplicable, MissingExtra) as reason:
        return replace(model, description=f"{model.description} ({reason})")
    weights = sum(b.numel() for b in module.buffers() if b.is_floating_point())
    return replace(model, module=module, parameters=weights)


def file_of(native: Any, session: Any) -> bytes | str:
    """The bytes or the path that a session was made of.

    Raises
    ------
    NotApplicable
        Where the session does not tell.
    """
    if isinstance(native, (bytes, bytearray)):
        return bytes(native)
    if isinstance(native, (str, Path)):
        return str(native)
    # ONNX Runtime keeps what it was given, but has no public name for it
    held = getattr(session, "_model_bytes", None) or getattr(session, "_model_path", None)
    if not held:
        raise NotApplicable("the ONNX model gives no gradients: its session hides the file")
    return bytes(held) if isinstance(held, (bytes, bytearray)) else str(held)


def _model(
    native: Any,
    task: Task,
    classes: NDArray[Any],
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    decide: Callable[[Any], NDArray[Any]],
    score: Callable[[Any], NDArray[np.float64]] | None = None,
) -> Model:
    from crenel.adapters.function import user_fit

    return Model(
        framework="onnx",
        task=task,
        classes=classes,
        decide=decide,
        score=score,
        fit=user_fit(fit, classes, task, columns) if fit else None,
        native=native,
        final=native,
        description="ONNX model",
    )


def session_of(model: bytes | bytearray | str | Path) -> Any:
    """An ONNX Runtime session of a file's bytes or path.

    Raises
    ------
    MissingExtra
        Where ONNX Runtime is not installed.
    SubjectError
        Where ONNX Runtime cannot load it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "onnx") from error
    content = bytes(model) if isinstance(model, (bytes, bytearray)) else str(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many kinds of its own
        reason = str(error).strip().splitlines()[0]
        raise SubjectError(f"the ONNX model cannot be loaded: {reason}") from error


@dataclass(frozen=True)
class Inputs:
    """A session together with the way the user's rows become its inputs."""

    session: Any
    inputs: tuple[Any, ...]
    columns: tuple[str, ...] | None

    @classmethod
    def of(cls, session: Any, columns: Sequence[str] | None) -> Inputs:
        """Read what a session takes."""
        return cls(session, tuple(session.get_inputs()), tuple(columns) if columns else None)

    @property
    def fixed(self) -> int | None:
        """The number of rows that the model takes at a time, where the file fixes it."""
        shape = self.inputs[0].shape
        return shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None

    def run(self, x: Any) -> list[Any]:
        """All outputs for n rows, batch by batch."""
        x = narrow(x, self.columns)
        feeds = self._feeds(x)
        n = len(x)
        if self.fixed is not None:
            slices = [slice(i, min(n, i + self.fixed)) for i in range(0, n, self.fixed)]
        else:
            width = sum(int(np.prod(a.shape[1:])) for a in feeds.values())
            slices = list(batches(n, width))
        parts = [self._one(feeds, s) for s in slices]
        return [_join([p[i] for p in parts]) for i in range(len(parts[0]))]

    def _one(self, feeds: dict[str, NDArray[Any]], rows: slice) -> list[Any]:
        part = {name: a[rows] for name, a in feeds.items()}
        n = rows.stop - rows.start
        if self.fixed is not None and n < self.fixed:
            pad = self.fixed - n
            part = {k: np.concatenate([a, np.repeat(a[-1:], pad, axis=0)]) for k, a in part.items()}
        return [o[:n] for o in self.session.run(None, part)]

    def _feeds(self, x: Any) -> dict[str, NDArray[Any]]:
        if len(self.inputs) == 1:
            entry = self.inputs[0]
            return {entry.name: _typed(x, entry.type, entry.name)}
        if not is_frame(x):
            raise SubjectError(
                f"the ONNX model takes {len(self.inputs)} named inputs, and the data has no "
                "column names; give a table with the columns "
                + ", ".join(i.name for i in self.inputs[:8])
            )
        x = narrow(x, [i.name for i in self.inputs])
        return {i.name: _typed(x[[i.name]], i.type, i.name) for i in self.inputs}

    def values(self, x: Any) -> NDArray[np.float64]:
        """A regression's values (n,)."""
        if not len(x):
            return np.zeros(0)
        return np.asarray(self.run(x)[0], dtype=np.float64).reshape(len(x))

    def form(self, sample: Any) -> Form:
        """Which output is which."""
        outputs = self.session.get_outputs()
        label = next((i for i, o in enumerate(outputs) if _is_label(o)), None)
        score = next((i for i, o in enumerate(outputs) if _is_score(o)), None)
        if score is None and label is None:
            raise SubjectError(
                "the ONNX model has no output of labels or scores; its outputs are "
                + ", ".join(f"{o.name} ({o.type})" for o in outputs)
            )
        form = Form(label, score, "probabilities", None, None)
        return form if sample is None or not len(sample) else form.seen(self.run(sample))


@dataclass(frozen=True)
class Form:
    """The outputs of a classifier.

    Attributes
    ----------
    label, scores : int or None
        Positions of the outputs.
    scale : {"probabilities", "logits"}
    keys : ndarray or None
        The labels that a list of maps names.
    seen_labels : ndarray or None
        Labels given on a sample.
    """

    label: int | None
    scores: int | None
    scale: str
    keys: NDArray[Any] | None
    seen_labels: NDArray[Any] | None
    k: int | None = None

    def seen(self, out: list[Any]) -> Form:
        """The same, with what the outputs on some rows tell."""
        labels = None if self.label is None else np.unique(self.labels(out))
        if self.scores is None:
            return Form(self.label, None, self.scale, None, labels)
        raw = out[self.scores]
        keys = as_labels(list(raw[0])) if isinstance(raw, list) else None
        p = _matrix(raw, keys)
        whole = (p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3)
        return Form(
            self.label,
            self.scores,
            "probabilities" if whole else "logits",
            keys,
            labels,
            p.shape[1],
        )

    def labels(self, out: list[Any]) -> NDArray[Any]:
        """The labels (n,) that the model gives."""
        assert self.label is not None
        return np.asarray(out[self.label]).reshape(-1)

    def probabilities(self, out: list[Any]) -> NDArray[np.float64]:
        """Probabilities (n, j), in the order of the model's own classes."""
        assert self.scores is not None
        p = _matrix(out[self.scores], self.keys)
        if self.scale == "logits":
            return softmax(p)
        return p


def _matrix(raw: Any, keys: NDArray[Any] | None) -> NDArray[np.float64]:
    """Scores (n, j) of a tensor or of a list of maps."""
    if isinstance(raw, list):
        names = (
            list(raw[0]) if keys is None else [getattr(k, "item", lambda k=k: k)() for k in keys]
        )
        return np.array([[row[name] for name in names] for row in raw], dtype=np.float64)
    p = np.asarray(raw, dtype=np.float64)
    if p.ndim == 1 or p.shape[1] == 1:
        p = p.reshape(-1)
        # one number for each row: a probability, or else the logit of the second class
        return two_columns(p) if ((p >= 0) & (p <= 1)).all() else np.column_stack([0 * p, p])
    return p.reshape(len(p), -1)


def _classes_of(
    form: Form, classes: Sequence[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The classes, and the model's own in the order of its scores where they differ."""
    if classes is not None:
        names = as_labels(classes)
        if form.k is not None and form.k != len(names):
            raise SubjectError(
                f"the ONNX model returns {form.k} scores for each row, and there are "
                f"{len(names)} classes; name one for each, in order: classes = […]"
            )
        return names, form.keys
    if form.keys is not None:
        return form.keys, form.keys
    if form.k is not None and (form.seen_labels is None or form.seen_labels.dtype.kind in "iu"):
        return np.arange(form.k), None
    if form.seen_labels is not None and (form.k is None or len(form.seen_labels) == form.k):
        return form.seen_labels, None
    raise SubjectError("the ONNX model does not tell its classes; name them: classes = […]")


def _is_label(output: Any) -> bool:
    return output.type in ("tensor(int64)", "tensor(int32)", "tensor(string)")


def _is_score(output: Any) -> bool:
    return output.type.startswith("seq(map(") or output.type in (
        "tensor(float)",
        "tensor(double)",
        "tensor(float16)",
    )


def _typed(x: Any, kind: str, name: str) -> NDArray[Any]:
    if kind == "tensor(string)":
        values = x.to_numpy(dtype=object) if is_frame(x) else np.asarray(x)
        return np.asarray(values.astype(str).astype(object))
    if kind not in _NUMBERS:
        raise SubjectError(f"the ONNX model's input {name!r} is a {kind}, which crenel cannot fill")
    dtype = _NUMBERS[kind]
    if np.issubdtype(dtype, np.floating):
        return to_numbers(x, dtype)
    return to_numbers(x).astype(dtype)


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return np.concatenate(parts)
