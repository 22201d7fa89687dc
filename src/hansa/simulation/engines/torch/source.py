"""A traced graph as TorchScript: its interpreter runs the operators without Python in between.

Two graphs of the same step, for batches of two sizes, make one function for every size: where their constants differ, they
grow with it. This file must not know what a graph computes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import CannotFuse

try:
    import torch
    from torch import Tensor, fx
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

SIZE = "size"
"""The name of the function's argument that is the number of examples."""


def compiled(
    graph: fx.Graph,
    module: fx.GraphModule,
    constants: list[Tensor],
    last: tuple[int, int],
    sizes: tuple[int, int],
    other: fx.Graph,
) -> Callable[..., list[Tensor]]:
    """A function that goes the graph's step again and again: its outputs are its first inputs at the next one.

    It takes the graph's tensors, those of a batch with an axis of steps before the others; then the `constants`, the batches'
    size, and for each step the numbers as Python's floats.

    Args:
        graph: of a step for batches of the first of `sizes`.
        module: the graph's.
        constants: the tensors that it has as attributes are appended to it.
        last: how many of its inputs, the last ones, are a batch's tensors, and how many behind them numbers.
        sizes: how many examples the batches of both graphs have.
        other: the same for the second; the first where only one size is wanted.

    Raises:
        CannotFuse: TorchScript has no words for it.
    """
    try:
        text = _text(graph, module, constants, last, sizes, other)
        return torch.jit.CompilationUnit(text).steps  # type: ignore[no-any-return]
    except CannotFuse:
        raise
    except Exception as problem:
        raise CannotFuse(f"TorchScript refuses the graph: {str(problem).strip()[:200]}") from problem


def _text(
    graph: fx.Graph,
    module: fx.GraphModule,
    constants: list[Tensor],
    last: tuple[int, int],
    sizes: tuple[int, int],
    other: fx.Graph,
) -> str:
    pairs = list(zip(graph.nodes, other.nodes, strict=True))
    if any((a.op, str(a.target), a.name) != (b.op, str(b.target), b.name) for a, b in pairs):
        raise CannotFuse("batches of another size take other operators")
    inputs = [node.name for node in graph.nodes if node.op == "placeholder"]
    fields, numbers = last
    tensors, floats = inputs[: len(inputs) - numbers], inputs[len(inputs) - numbers :]
    alone, batch = tensors[: len(tensors) - fields], tensors[len(tensors) - fields :]
    lines = [f"{name} = {name}_of_all[step]" for name in batch]
    lines += [f"{name} = numbers[step][{place}]" for place, name in enumerate(floats)]
    attributes = []
    for node, same in pairs:
        if node.op == "get_attr":
            attributes.append(node.name)
            constants.append(_attribute(module, node.target))
        elif node.target is torch.ops.aten._to_copy.default and _is_number(node.args[0], floats):
            lines.append(f"{node.name} = {_words(node.args[0], same.args[0], sizes)}")  # numbers have no dtype
            floats.append(node.name)
        elif node.op == "call_function":
            lines.append(_call(node, same, sizes))
        elif node.op == "output":
            moved = alone[: len(node.args[0])]
            lines += [f"next_{name} = {value.name}" for name, value in zip(moved, node.args[0], strict=True)]
            lines += [f"{name} = next_{name}" for name in moved]
        elif node.op != "placeholder":
            raise CannotFuse(f"TorchScript has no words for {node.op}")
    typed = [f"{name}: Tensor" for name in (*alone, *(f"{name}_of_all" for name in batch), *attributes)]
    head = f"def steps({', '.join([*typed, f'{SIZE}: int', 'numbers: List[List[float]]'])}):"
    loop = "    for step in range(len(numbers)):"
    return "\n".join([head, loop, *(f"        {line}" for line in lines), f"    return [{', '.join(moved)}]", ""])


def _is_number(value: Any, floats: list[str]) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, fx.Node) and value.name in floats)


def _attribute(module: fx.GraphModule, name: str) -> Tensor:
    found: Any = getattr(module, name)
    if not isinstance(found, Tensor):
        raise CannotFuse(f"the graph holds a {type(found).__name__}")
    return found


def _call(node: fx.Node, same: fx.Node, sizes: tuple[int, int]) -> str:
    """One line; an operator with several results gives names with numbers behind."""
    if node.target is operator.neg:
        return f"{node.name} = -{_words(node.args[0], same.args[0], sizes)}"
    if not isinstance(node.target, torch._ops.OpOverload):  # only an item is taken by a function of Python's
        source: Any = node.args[0]
        several = len(source.target._schema.returns) > 1
        return f"{node.name} = {source.name}" + (f"_{node.args[1]}" if several else f"[{node.args[1]}]")
    schema = node.target._schema
    given = [_argument(schema.arguments[place], *both, sizes) for place, both in enumerate(_both(node.args, same.args))]
    named = {argument.name: argument for argument in schema.arguments}
    given += [
        f"{name}={_argument(named[name], value, same.kwargs[name], sizes)}" for name, value in node.kwargs.items()
    ]
    results = len(schema.returns)
    left = node.name if results == 1 else ", ".join(f"{node.name}_{place}" for place in range(results))
    return f"{left} = torch.ops.{schema.name.replace('::', '.')}({', '.join(given)})"


def _both(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    return zip(one, other, strict=True)


def _argument(argument: Any, value: Any, other: Any, sizes: tuple[int, int]) -> str:
    if isinstance(value, (list, tuple)) and not value:
        kind = "Tensor" if "Tensor" in str(argument.type) else "int"
        return f"torch.jit.annotate(List[{kind}], [])"  # an empty list is one of tensors unless said otherwise
    return _words(value, other, sizes)


def _words(value: Any, other: Any, sizes: tuple[int, int]) -> str:
    """A value of a graph, and that of the other graph in its place, in TorchScript."""
    if isinstance(value, fx.Node):
        return value.name
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_words(*both, sizes) for both in _both(value, other)) + "]"
    if value != other and not (value != value and other != other):
        return _growing(value, other, sizes)
    match value:
        case bool() | None | int() | str():
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        case torch.dtype() | torch.layout() | torch.memory_format():
            return str(value)
        case torch.device():
            return f'torch.device("{value}")'
    raise CannotFuse(f"TorchScript has no words for {value!r:.80}")


def _growing(value: Any, other: Any, sizes: tuple[int, int]) -> str:
    """What a constant is for any size: a·size + b through its values at two."""
    if type(value) not in (int, float) or type(value) is not type(other) or value != int(value) or other != int(other):
        raise CannotFuse("what a step does with a batch does not grow with its size")
    slope, rest = divmod(int(value) - int(other), sizes[0] - sizes[1])
    if rest:
        raise CannotFuse("what a step does with a batch does not grow with its size")
    grown = f"({slope} * {SIZE} + {int(value) - slope * sizes[0]})"
    return f"float{grown}" if isinstance(value, float) else grown
