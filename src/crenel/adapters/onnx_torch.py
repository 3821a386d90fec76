"""ONNX graphs as torch modules, so that attacks get gradients and certificates get layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crenel.adapters.onnx_operators import DTYPES, OPERATORS
from crenel.errors import MissingExtra, NotApplicable

#: Log-probabilities of nothing are kept finite.
TINY = 1e-12


@dataclass(frozen=True)
class Step:
    """One node of a graph.

    Attributes
    ----------
    operator : str
        Name of its operator.
    name : str
        The node's own name, or the operator's and the output's.
    inputs, outputs : tuple of str
        Names of values; "" for an optional one left out.
    attributes : dict
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class OnnxModule(nn.Module):  # type: ignore[misc]
    """The part of an ONNX graph that leads from its one input to one output.

    Nodes are interpreted in order; those that depend on weights alone are computed once. A graph
    written for one row takes any number of rows.

    Parameters
    ----------
    model : onnx.ModelProto, bytes, str or Path
    output : int
        Which of the graph's outputs.

    Attributes
    ----------
    steps : tuple of Step
        In the order of computation.
    source, result : str
        Names of the input and of the output.
    opset : int
    shape : tuple of int or None
        Shape of the input, the rows first; None where it is free.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the graph has several inputs or an operator that is not known; the text tells which.
    """

    def __init__(self, model: Any, output: int = 0) -> None:
        super().__init__()
        model = _loaded(model)
        graph = model.graph
        self.opset = max([o.version for o in model.opset_import if not o.domain] or [1])
        constants = {i.name: _tensor(i) for i in graph.initializer}
        entry = _single_input(graph, constants)
        self.source, self.result = entry.name, graph.output[output].name
        self.shape = _shape_of(entry)
        self.dtype = DTYPES.get(entry.type.tensor_type.elem_type, torch.float32)
        if not self.dtype.is_floating_point:
            raise NotApplicable(f"the ONNX model's input {entry.name!r} is not of real numbers")
        self.steps = self._fold(_needed(graph.node, self.result), constants)
        used = {name for step in self.steps for name in step.inputs} & constants.keys()
        self._places = {name: f"value_{i}" for i, name in enumerate(sorted(used))}
        for name, place in self._places.items():
            self.register_buffer(place, constants[name])

    def constant(self, name: str) -> Tensor | None:
        """The value of that name where it depends on weights alone."""
        place = self._places.get(name)
        return None if place is None else getattr(self, place)

    def forward(self, x: Tensor) -> Tensor:
        """The output for rows (n, …) shaped as the graph's input."""
        values: dict[str, Any] = {name: getattr(self, p) for name, p in self._places.items()}
        values[self.source] = x.to(self.dtype)
        for step in self.steps:
            values.update(_run(step, values, self.opset))
        return values[self.result]

    def _fold(self, nodes: list[Any], constants: dict[str, Tensor]) -> tuple[Step, ...]:
        """The steps that depend on the input; what does not becomes a constant."""
        steps = []
        for node in nodes:
            step = _step(node)
            if step.operator not in OPERATORS:
                raise NotApplicable(
                    f"the ONNX model gives no gradients: its operator {step.operator} "
                    f"({step.name}) is not one that crenel differentiates"
                )
            if all(name in constants or not name for name in step.inputs):
                constants.update(_run(step, constants, self.opset))
            else:
                steps.append(step)
        return tuple(steps)


def _run(step: Step, values: dict[str, Any], opset: int) -> dict[str, Any]:
    inputs = [values[name] if name else None for name in step.inputs]
    out = OPERATORS[step.operator](inputs, step.attributes, opset)
    outputs = out if isinstance(out, list) else [out]
    return dict(zip(step.outputs, outputs, strict=False))


def _loaded(model: Any) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "onnx") from error
    if isinstance(model, (bytes, bytearray)):
        return onnx.load_from_string(bytes(model))
    return onnx.load(str(model)) if isinstance(model, (str, Path)) else model


def _single_input(graph: Any, constants: dict[str, Tensor]) -> Any:
    entries = [i for i in graph.input if i.name not in constants]
    if len(entries) != 1:
        names = ", ".join(i.name for i in entries[:8])
        raise NotApplicable(
            f"the ONNX model gives no gradients: it takes {len(entries)} inputs ({names}), "
            "and gradients are taken of a single one"
        )
    return entries[0]


def _shape_of(entry: Any) -> tuple[int | None, ...]:
    sizes = entry.type.tensor_type.shape.dim
    return tuple(s.dim_value if s.dim_value > 0 else None for s in sizes)


def _needed(nodes: Iterable[Any], result: str) -> list[Any]:
    """The nodes that the result depends on; a file lists them in the order of computation."""
    wanted, kept = {result}, []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _step(node: Any) -> Step:
    from onnx import TensorProto, helper

    attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        attributes[attribute.name] = _tensor(value) if isinstance(value, TensorProto) else value
    inputs = tuple(node.input)
    name = node.name or f"{node.op_type} → {node.output[0]}"
    return Step(node.op_type, name, inputs, tuple(node.output), attributes)


def _tensor(proto: Any) -> Tensor:
    from onnx import numpy_helper

    return torch.from_numpy(np.array(numpy_helper.to_array(proto), order="C"))


#: Largest difference between probabilities of ONNX Runtime and of the module.
AGREEMENT = 1e-3


def checked_module(
    model: Any, output: int, form: str | None, order: Any, x: Any, probabilities: Any
) -> nn.Module:
    """A graph as a module from rows to logits (n, k), proved on some rows.

    Parameters
    ----------
    model : onnx.ModelProto, bytes, str or Path
    output : int
        Which of the graph's outputs are scores.
    form : {"probabilities"} or None
        What the scores are; logits where it is None.
    order : ndarray of int, shape (k,)
        Columns of the scores in the order of the classes.
    x : ndarray, shape (n, …), float32
    probabilities : ndarray, shape (n, k)
        What the model answers in its own runtime.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the graph cannot be converted, or the module answers otherwise than the runtime.
    """
    body = OnnxModule(model, output)
    bodies = [body, RowByRow(body)] if body.shape and body.shape[0] == 1 else [body]
    reason = ""
    for one in bodies:
        module = Scores(one, form, order).eval()
        try:
            with torch.no_grad():
                got = torch.softmax(module(torch.from_numpy(x)).double(), dim=1).numpy()
        except (RuntimeError, ValueError, TypeError, LookupError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0]
            continue
        if got.shape == probabilities.shape and np.abs(got - probabilities).max() <= AGREEMENT:
            return module
        reason = "the converted graph does not answer as ONNX Runtime does"
    raise NotApplicable(f"the ONNX model gives no gradients: {reason}")


class Scores(nn.Module):  # type: ignore[misc]
    """A graph's scores as logits (n, k) in the order of the classes.

    Parameters
    ----------
    body : nn.Module
    form : {"probabilities"} or None
        None where the graph returns logits already.
    order : ndarray of int, shape (k,)
    """

    def __init__(self, body: nn.Module, form: str | None, order: Any) -> None:
        super().__init__()
        self.body = body
        self.form = form
        self.order = [int(i) for i in order]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, k) of rows."""
        out = self.body(x).float()
        out = out.reshape(len(x), -1)
        if self.form == "probabilities":
            out = torch.log(out.clamp_min(TINY)) if out.shape[1] > 1 else torch.logit(out, 1e-7)
        if out.shape[1] == 1:
            out = torch.cat([torch.zeros_like(out), out], dim=1)
        return out if self.order == sorted(self.order) else out[:, self.order]


class RowByRow(nn.Module):  # type: ignore[misc]
    """A module that takes one row at a time, asked for many.

    Parameters
    ----------
    body : nn.Module
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of all rows, one above the other."""
        return torch.cat([self.body(row) for row in x.split(1)])
