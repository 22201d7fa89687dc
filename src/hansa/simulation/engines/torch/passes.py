"""Rewritings of a traced graph that make it faster: some keep every bit, some only the numbers within rounding.

This file must not know what a graph computes.
"""

from __future__ import annotations

import operator
from typing import Any

from hansa.errors import MissingExtra

try:
    import torch
    from torch import fx
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

aten = torch.ops.aten

IN_PLACE = {
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.add.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub_.Tensor,
    aten.div.Tensor: aten.div_.Tensor,
}
"""Operators that can write their result over their first argument."""

MAKERS = frozenset({
    *IN_PLACE, *IN_PLACE.values(),
    aten.mm.default, aten.addmm.default, aten.bmm.default, aten.sum.dim_IntList,
    aten.convolution_backward.default, aten.embedding_dense_backward.default,
    aten.mkldnn_rnn_layer_backward.default, aten.native_batch_norm_backward.default,
    aten.native_layer_norm_backward.default,
})  # fmt: skip
"""Operators whose results are memory that no argument needs anymore."""

VIEWS = frozenset({aten.t.default, aten.view.default, aten.transpose.int})
"""Operators whose result is the memory of their argument."""


def keep_linear(graph: fx.Graph) -> None:
    """Write addmm as linear, which it came from: TorchScript splits addmm in two operators with other last bits."""
    for node in list(graph.nodes):
        if node.target is not aten.addmm.default or node.kwargs or len(node.args) != 3:
            continue
        bias, x, weight = node.args
        with graph.inserting_before(node):
            is_flipped = weight.target is aten.t.default
            rows = weight.args[0] if is_flipped else graph.call_function(aten.t.default, (weight,))
            linear = graph.call_function(aten.linear.default, (x, rows, bias))
        node.replace_all_uses_with(linear)
        graph.erase_node(node)
    graph.eliminate_dead_code()


def sum_at_once(graph: fx.Graph) -> None:
    """Sum rows to a row without the axis that autograd keeps and then views away: the same bits, an operator less."""
    for node in list(graph.nodes):
        kept: Any = node.args[0] if node.target is aten.view.default else node
        if kept is node or kept.target is not aten.sum.dim_IntList or len(kept.users) > 1 or kept.kwargs:
            continue
        rows, *how = kept.args
        if how == [[0], True] and len(_form(rows)[0]) == 2:
            with graph.inserting_before(node):
                summed = graph.call_function(aten.sum.dim_IntList, (rows, [0]))
            summed.meta = node.meta
            node.replace_all_uses_with(summed)
            graph.erase_node(node)
    graph.eliminate_dead_code()


def reuse_memory(graph: fx.Graph, moved: int) -> None:
    """Let x·s, x / s and x ± y write over an x that nobody needs afterwards: the same bits, and no memory to find for them.

    Args:
        graph: changed.
        moved: how many inputs, the first ones, may be written to: only their own next values need them.
    """
    last = _last_needed(graph, moved)
    for place, node in enumerate(graph.nodes):
        if node.target not in IN_PLACE:
            continue
        first, second = node.args[:2]
        if (_own(first) or last.get(first) == place) and _as_wide(first, second):
            node.target = IN_PLACE[node.target]


def move_in_place(graph: fx.Graph, moved: int) -> None:
    """x ← x − g·s in one pass over x, or within g's own product of matrices; the last bits differ.

    Args:
        graph: changed.
        moved: how many inputs, the first ones, may be written to: only their own next values need them.
    """
    last = _last_needed(graph, moved)
    for place, node in enumerate(list(graph.nodes)):
        if node.target is not aten.sub.Tensor or node.kwargs or last.get(node.args[0]) != place:
            continue
        x, step = node.args
        if getattr(step, "target", None) is not aten.mul.Tensor or len(step.users) > 1:
            continue
        gradient, rate = step.args
        if not isinstance(rate, float) and not _is_number(rate):
            continue
        with graph.inserting_before(node):
            node.replace_all_uses_with(_less(graph, x, gradient, rate))
        graph.erase_node(node)
    graph.eliminate_dead_code()


def _last_needed(graph: fx.Graph, moved: int) -> dict[Any, int]:
    """For the first inputs: the place of the operator that is the last to need one, or a view of it.

    Without those that are outputs too; and without any where two outputs are the same memory, which they would be as inputs of
    the next step.
    """
    *_, end = graph.nodes
    outputs = [_source(node) for node in end.args[0]]
    if len(set(outputs)) < len(outputs):
        return {}
    order = {node: place for place, node in enumerate(graph.nodes)}

    def needed(node: fx.Node) -> int:
        places = [order[user] if user.target not in VIEWS else max(order[user], needed(user)) for user in node.users]
        return max(places, default=-1)

    inputs = [node for node in graph.nodes if node.op == "placeholder"][:moved]
    return {node: needed(node) for node in inputs if node not in outputs}


def _source(node: Any) -> Any:
    """What a node is a view of, or the node itself."""
    while node.target in VIEWS:
        node = node.args[0]
    return node


def _less(graph: fx.Graph, x: fx.Node, gradient: fx.Node, rate: Any) -> fx.Node:
    """x − gradient·rate, written over x."""
    product, flipped = gradient, False
    while product.target is aten.t.default and len(product.users) == 1:
        product, flipped = product.args[0], not flipped  # type: ignore[assignment]  # an argument of t is a node
    if product.target is aten.sum.dim_IntList and len(product.users) == 1 and _sums_rows(product):
        rows = product.args[0]
        ones = graph.call_function(aten.new_ones.default, (rows, [_form(rows)[0][0]]))  # type: ignore[arg-type]  # a node
        columns = graph.call_function(aten.t.default, (rows,))
        less = graph.call_function(operator.neg, (rate,))
        return graph.call_function(aten.addmv_.default, (x, columns, ones), {"alpha": less})
    if product.target is not aten.mm.default or len(product.users) > 1:
        return graph.call_function(aten.sub_.Tensor, (x, gradient), {"alpha": rate})
    a, b = product.args
    if flipped:
        a, b = graph.call_function(aten.t.default, (b,)), graph.call_function(aten.t.default, (a,))
    less = graph.call_function(operator.neg, (rate,))
    return graph.call_function(aten.addmm_.default, (x, a, b), {"alpha": less})


def _sums_rows(node: fx.Node) -> bool:
    """Whether a sum is one of the rows of a matrix: as a product with ones it is quicker, and goes where it belongs."""
    rows, *how = node.args
    return how == [[0]] and not node.kwargs and len(_form(rows)[0]) == 2 and _form(rows)[1] == _form(node)[1]  # type: ignore[arg-type]  # a node


def _is_number(node: Any) -> bool:
    """Whether a node is an input without an axis, such as a number."""
    return isinstance(node, fx.Node) and node.op == "placeholder" and _form(node)[0] == ()


def _form(node: fx.Node) -> tuple[tuple[int, ...], torch.dtype]:
    meta = node.meta["tensor_meta"]
    return tuple(meta.shape), meta.dtype


def _as_wide(first: fx.Node, second: Any) -> bool:
    """Whether a result with `second` is as `first` is, which is not seen through `second`."""
    if not isinstance(second, fx.Node):
        return True
    if _source(second) is first:
        return False
    one, other = _form(first), _form(second)
    return one == other or (other[0] == () and one[0] != ())


def _own(node: Any) -> bool:
    """Whether a node is memory that only its one user sees."""
    while isinstance(node, fx.Node) and node.op == "call_function" and len(node.users) == 1:
        if node.target in MAKERS:
            return True
        if node.target is operator.getitem:
            return getattr(node.args[0], "target", None) in MAKERS
        if node.target not in VIEWS:
            return False
        node = node.args[0]
    return False
