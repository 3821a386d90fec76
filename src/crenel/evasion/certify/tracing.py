"""Any torch module as a graph of layers, by watching the operators that it runs.

The module is run on two rows; each operator on what depends on them becomes a layer, and the
graph must then answer as the module does. Whatever is not understood is refused by name: a
certificate is never given for something else than the module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from crenel.errors import NotApplicable
from crenel.evasion.certify.graph import Graph, Node
from crenel.evasion.certify.layers import Source
from crenel.evasion.certify.operators import OPERATORS, TAILS, Draft, Make, Value
from crenel.evasion.gradients.network import torch

#: Largest difference between graph and module, as a share of the largest output.
AGREEMENT = 1e-4


def graph_of(module: Any, x: Any, dtype: Any = None) -> Graph:
    """A module in evaluation mode as a graph.

    Parameters
    ----------
    module : torch.nn.Module
        From rows (n, …) to outputs (n, k).
    x : tensor, shape (n, …), n of 1 or more
        Rows on which the module is watched, and the graph is checked.
    dtype : torch.dtype or None
        Of the graph; by default float64, or float32 where there are convolutions, which are
        slow in float64.

    Raises
    ------
    crenel.errors.NotApplicable
        Where an operator is not understood, decisions are taken while computing, or the graph
        would not answer as the module does.
    """
    x = x.detach()
    pair = x[:2] if len(x) > 1 else torch.cat([x[:1], x[:1]])
    recorder = Recorder(pair)
    with _named(module, recorder), torch.no_grad(), recorder:
        try:
            out = module(pair)
        except RuntimeError:
            if recorder.refused is None:
                raise
            # TorchScript wraps what is raised within it
            raise recorder.refused from None
    last = recorder.of(out)
    if last is None:
        raise NotApplicable("no certificate: the module's outputs are not seen to depend on rows")
    wide = not any(draft.name.endswith("convolution") for draft in recorder.drafts)
    graph = recorder.graph(last, dtype or (torch.float64 if wide else torch.float32))
    _check(graph, module, x[:64], exact=not (last.tail or recorder.ranked))
    return graph


def _check(graph: Graph, module: Any, x: Any, exact: bool) -> None:
    """Refuse a graph that does not answer, or where ``exact`` is False rank, as the module."""
    with torch.no_grad():
        own = module(x)
    own = own.reshape(len(own), -1)
    got = graph.forward(x).to(own.dtype)
    same = got.shape == own.shape
    if same and exact:
        same = bool((got - own).abs().max() <= AGREEMENT * max(1.0, float(own.abs().max())))
    elif same:
        top = got.topk(2, dim=1).values
        clear = (top[:, 0] - top[:, 1]) > AGREEMENT * float(got.abs().max())
        same = torch.equal(got.argmax(1)[clear], own.argmax(1)[clear])
    if not same:
        raise NotApplicable("no certificate: the module's answers are not those of its layers")


#: Operators that take the shape of their argument alone.
_EMPTY = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")


class Recorder(TorchDispatchMode):  # type: ignore[misc]
    """Sees every operator, and keeps those whose arguments depend on the rows.

    Parameters
    ----------
    x : tensor, shape (2, …)
    """

    def __init__(self, x: Any) -> None:
        super().__init__()
        self.drafts = [Draft(lambda _: Source(), (), tuple(x.shape[1:]), "input")]
        self.where: dict[int, Value] = {id(x): Value(0, tuple(x.shape))}
        self.held: list[Any] = [x]  # so that ids stay taken
        self.layer = ""
        self.ranked = False
        self.refused: NotApplicable | None = None

    def of(self, tensor: Any) -> Value | None:
        """What is known of a tensor: its node and shape."""
        return self.where.get(id(tensor))

    def add(self, make: Make, inputs: tuple[int, ...], shape: Any, what: str) -> Value:
        """A further node, of the shape that its rows have, rows included."""
        name = f"{self.layer} {what}".strip()
        self.drafts.append(Draft(make, inputs, tuple(shape[1:]), name))
        return Value(len(self.drafts) - 1, tuple(shape))

    def refuse(self, what: str) -> NotApplicable:
        """The error that names operator and layer."""
        place = f" of layer {self.layer}" if self.layer else ""
        self.refused = NotApplicable(f"no certificate: bounds are not known through {what}{place}")
        return self.refused

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and write down what it did to what depends on the rows."""
        kwargs = kwargs or {}
        seen = list(self._seen((*args, *kwargs.values())))
        out = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if not seen or name in _EMPTY:
            return out
        rule = OPERATORS.get(name)
        if rule is None or (any(v.tail for v in seen) and name not in TAILS):
            raise self.refuse(name)
        first = out[0] if isinstance(out, (tuple, list)) else out
        value = rule(self, first, function, args, kwargs)
        if value.shape != tuple(first.shape) or value.shape[0] != 2:
            raise self.refuse(f"{name}, which mixes rows")
        self.where[id(first)] = value
        self.held.append(first)
        return out

    def _seen(self, things: Any) -> Iterator[Value]:
        for thing in things:
            if isinstance(thing, (tuple, list)):
                yield from self._seen(thing)
            elif id(thing) in self.where:
                yield self.where[id(thing)]

    def graph(self, last: Value, dtype: Any) -> Graph:
        """The nodes that the output depends on, as a graph whose last node is that output."""
        needed, stack = {0}, [last.node]
        while stack:
            i = stack.pop()
            if i not in needed:
                needed.add(i)
                stack.extend(self.drafts[i].inputs)
        order = sorted(needed)
        place = {i: j for j, i in enumerate(order)}
        kept = []
        for i in order:
            draft = self.drafts[i]
            inputs = tuple(place[j] for j in draft.inputs)
            kept.append(Node(draft.make(dtype), inputs, draft.shape, draft.name))
        if place[last.node] != len(kept) - 1 or len(last.shape) != 2:
            raise NotApplicable("no certificate: the module does not return outputs (n, k)")
        return Graph(tuple(kept), dtype)


class _named:
    """While open, the recorder knows the name of the submodule that runs."""

    def __init__(self, module: Any, recorder: Recorder) -> None:
        self.module, self.recorder = module, recorder
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for name, part in self.module.named_modules():
            # TorchScript takes no hooks; its layers stay without names
            if not list(part.children()) and not isinstance(part, torch.jit.ScriptModule):
                kind = f"{name or 'module'} ({type(part).__name__})"
                self.handles.append(part.register_forward_pre_hook(self._enter(kind)))

    def _enter(self, name: str) -> Any:
        def hook(_module: Any, _given: Any) -> None:
            self.recorder.layer = name

        return hook

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
