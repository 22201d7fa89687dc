"""Flower's message apps in this process: what a Grid sends and gets, what nodes keep, records, and mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hansa.interop.flower as fl
from hansa.errors import CohortTooLarge, ConfigError, DataError, InputError, UnknownName
from hansa.interop.flower.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from hansa.interop.flower.clientapp import ClientApp
from hansa.interop.flower.packing import from_tree, pack, to_tree, unpack
from hansa.interop.flower.serverapp import Grid, ServerApp
from hansa.interop.flower.serverapp.strategy import FedAvg, FedAvgM, FedProx
from hansa.interop.flower.simulation import run_simulation

FL: Any = fl


def adder() -> ClientApp:
    """An app that adds its partition's number and the config's step, and counts its visits in its state."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        content, number = message.content, int(context.node_config["partition-id"])
        count = int(str(context.state.metric_records["visits"]["count"])) if context.state else 0
        context.state["visits"] = MetricRecord({"count": count + 1})
        step = float(str(content.config_records["config"]["step"]))
        arrays = ArrayRecord([array + number + step for array in content.array_records["arrays"].to_numpy_ndarrays()])
        metrics = MetricRecord({"loss": float(number), "visits": count, "num-examples": number + 1})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        total = float(message.content.array_records["arrays"].to_numpy_ndarrays()[0].sum())
        return Message(RecordDict({"metrics": MetricRecord({"sum": total, "num-examples": 5})}), reply_to=message)

    return app


def run(main: Any, app: ClientApp | None = None, nodes: int = 3) -> Any:
    server = ServerApp()
    server.main()(main)
    return run_simulation(server, app or adder(), num_supernodes=nodes)


INITIAL = [np.zeros((2, 2)), np.ones(3)]
MEAN = (0 * 1 + 1 * 2 + 2 * 3) / 6


# --- strategies


def test_fedavg_over_messages_gives_what_flower_gives_and_prints() -> None:
    """What is expected here was printed by flwr 1.42.0 for the same program, all of its nodes being there from the start."""

    def main(grid: Grid, context: Context) -> Any:
        return FedAvg().start(
            grid=grid,
            initial_arrays=ArrayRecord(INITIAL),
            num_rounds=2,
            train_config=ConfigRecord({"step": 0.5}),
            evaluate_fn=lambda round_, arrays: MetricRecord({"x": float(arrays["1"].numpy().sum())}),
        )

    result = run(main)
    np.testing.assert_allclose(result.arrays["1"].numpy(), 1 + 2 * (MEAN + 0.5))
    shown = {name: pytest.approx(value) for name, value in {"loss": MEAN, "visits": 1.0}.items()}
    assert dict(result.train_metrics_clientapp[2]) == shown
    assert {n: dict(each) for n, each in result.evaluate_metrics_clientapp.items()} == {
        1: {"sum": pytest.approx(4 * (MEAN + 0.5))},
        2: {"sum": pytest.approx(8 * (MEAN + 0.5))},
    }
    assert list(result.evaluate_metrics_serverapp) == [0, 1, 2]
    assert repr(result).startswith(
        "Global Arrays:\n\tArrayRecord (0.000 MB)\n\nAggregated ClientApp-side Train Metrics:\n{ 1"
    )
    assert "'loss': '1.3333e+00'" in repr(result)


def test_a_server_optimiser_and_the_proximal_term() -> None:
    told: list[Any] = []
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        told.append(dict(message.content.config_records["config"]))
        arrays = [array + 1 for array in message.content.array_records["arrays"].to_numpy_ndarrays()]
        metrics = MetricRecord({"num-examples": 1})
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    def main(grid: Grid, context: Context) -> Any:
        start: Any = {"initial_arrays": ArrayRecord(INITIAL), "num_rounds": 2}
        FedProx(proximal_mu=0.25, fraction_evaluate=0.0).start(grid, **start)
        return FedAvgM(server_momentum=0.5, fraction_evaluate=0.0).start(grid, **start)

    result = run(main, app, nodes=2)
    np.testing.assert_allclose(result.arrays["0"].numpy(), 1 + 1.5)
    assert told[0] == {"proximal-mu": 0.25, "server-round": 1}


def test_the_same_seed_asks_the_same_nodes() -> None:
    def main(grid: Grid, context: Context) -> Any:
        config = ConfigRecord({"step": 1})

        def asked(seed: int) -> list[int]:
            strategy = FedAvg(fraction_train=0.2, seed=seed)
            messages = [strategy.configure_train(n, ArrayRecord(INITIAL), config, grid) for n in (1, 2, 3)]
            return [message.metadata.dst_node_id for each in messages for message in each]

        assert len(asked(1)) == 12
        return asked(1) == asked(1) != asked(2)

    assert run(main, nodes=20)


# --- the Grid


def test_every_node_may_get_content_of_its_own_and_a_failed_one_replies_with_an_error() -> None:
    app = ClientApp()

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == 1:
            raise RuntimeError("no")
        return Message(message.content, reply_to=message)

    def main(grid: Grid, context: Context) -> Any:
        messages = [
            Message(RecordDict({"own": ConfigRecord({"number": node})}), node, "query.echo", group_id=str(node))
            for node in grid.get_node_ids()
        ]
        return messages, grid.send_and_receive(messages)

    messages, replies = run(main, app)
    assert [reply.metadata.src_node_id for reply in replies] == [0, 1, 2]
    assert [reply.metadata.reply_to_message_id for reply in replies] == [each.metadata.message_id for each in messages]
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert replies[1].error.reason == "RuntimeError: no"
    assert replies[2].content == messages[2].content


def test_messages_that_are_pushed_are_pulled_by_their_ids() -> None:
    def main(grid: Grid, context: Context) -> Any:
        content = RecordDict({"arrays": ArrayRecord(INITIAL)})
        messages = [grid.create_message(content, MessageType.EVALUATE, node, "1") for node in (2, 0)]
        ids = list(grid.push_messages(messages))
        return ids, grid.pull_messages(ids[1:]), grid.pull_messages(ids)

    ids, second, first = run(main)
    assert [reply.metadata.reply_to_message_id for reply in [*first, *second]] == ids
    assert [reply.metadata.src_node_id for reply in [*first, *second]] == [2, 0]


def test_mods_and_lifespans_are_around_every_message() -> None:
    seen: list[str] = []

    def mod(name: str) -> Any:
        def around(message: Message, context: Context, handler: Any) -> Message:
            seen.append(f"{name} in")
            reply: Message = handler(message, context)
            seen.append(f"{name} out")
            return reply

        return around

    app = ClientApp(mods=[mod("outer")])

    @app.lifespan()
    def lifespan(context: Context) -> Iterator[None]:
        seen.append("begin")
        yield
        seen.append("end")

    @app.evaluate(mods=[mod("inner")])
    def evaluate(message: Message, context: Context) -> Message:
        seen.append("work")
        return Message(RecordDict(), reply_to=message)

    run(lambda grid, context: grid.send_and_receive([Message(RecordDict(), 0, "evaluate")]), app)
    assert seen == ["begin", "outer in", "inner in", "work", "inner out", "outer out", "end"]


# --- records

SCALARS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(), st.binary(), st.booleans())
LISTS = st.one_of(
    *(st.lists(each, max_size=3) for each in (st.integers(-9, 9), st.floats(-1, 1), st.text(), st.binary()))
)
NAMES = st.text(min_size=1, max_size=5)


@given(
    st.dictionaries(NAMES, st.one_of(SCALARS, LISTS), max_size=4),
    st.dictionaries(NAMES, st.one_of(st.integers(-9, 9), st.floats(-1, 1), st.lists(st.floats(-1, 1))), max_size=4),
    st.lists(st.tuples(NAMES, st.integers(0, 3)), max_size=3, unique_by=lambda pair: pair[0]),
)
def test_records_are_the_same_after_the_journey(config: Any, metrics: Any, arrays: Any) -> None:
    arrays = ArrayRecord({name: np.arange(size, dtype=np.float32) for name, size in arrays})
    records = RecordDict({"c": ConfigRecord(config), "a/b": arrays, "m": MetricRecord(metrics), "empty": ArrayRecord()})
    for back in (unpack(*pack(records)), from_tree(to_tree(records))):
        assert back == records
        assert [list(record) for record in back.values()] == [list(record) for record in records.values()]
        assert [type(value) for value in back["c"].values()] == [type(value) for value in config.values()]


def test_array_records_of_lists_tensors_and_serialised_parts() -> None:
    import torch

    state = {"w": torch.ones(2, 3), "n": torch.tensor(3)}
    record = ArrayRecord(state)
    assert {name: tuple(tensor.shape) for name, tensor in record.to_torch_state_dict().items()} == {
        "w": (2, 3),
        "n": (),
    }
    assert record == ArrayRecord.from_torch_state_dict(state) == ArrayRecord(torch_state_dict=state)
    again = Array("int64", (), "numpy.ndarray", record["n"].data)
    assert again == record["n"]
    assert (again.dtype, again.shape) == ("int64", ())
    numbered = ArrayRecord([np.zeros(2), np.ones(1)])
    assert list(numbered) == ["0", "1"]
    assert [array.tolist() for array in numbered.to_numpy_ndarrays(keep_input=False)] == [[0.0, 0.0], [1.0]]
    assert len(numbered) == 0


def test_arrays_are_copied_on_the_way_in_hand() -> None:
    given = np.zeros(2)
    record = ArrayRecord([given])
    record["0"].numpy()[:] = 5
    assert record["0"].numpy().tolist() == [0.0, 0.0]


# --- mistakes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MetricRecord({"a": "text"}), "expected a number or a list of numbers, found 'text'"),
        (lambda: ConfigRecord({"a": None}), "expected a number, text, bytes, or a list of these, found None"),
        (
            lambda: RecordDict({"a": {}}),  # type: ignore[dict-item]  # that is the point
            "expected an ArrayRecord, a MetricRecord or a ConfigRecord, found dict",
        ),
        (lambda: ArrayRecord({"a": [1.0]}), "array 0 is a list; expected a NumPy array"),
        (lambda: ArrayRecord({3: np.zeros(1)}), "the keys of ArrayRecord are text, not int"),
    ],
)
def test_what_does_not_belong_into_a_record_is_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Message(), "a message has either content or an error"),
        (lambda: Message(RecordDict()), "a message goes to a node and has a type"),
        (lambda: Message(Error(1, "no"), 0, "train").content, "the message has no content"),
        (lambda: Message(RecordDict(), 0, "train").error, "the message has no error"),
        (lambda: ClientApp(client_fn=lambda cid: None, mods=[lambda m, c, h: m]), "mods change messages"),
        (lambda: ClientApp(client_fn=lambda cid: None).train(), "this app has a client_fn, and a function for"),
        (lambda: ServerApp(server_fn=lambda context: None).main(), "this app has a main function and a strategy"),
        (lambda: run_simulation(ServerApp(), adder(), 2), "this ServerApp does nothing"),
        (lambda: run_simulation(ServerApp(server_fn=lambda context: 3), adder(), 2), "server_fn returned int"),
        (
            lambda: run(lambda grid, context: None, ClientApp(client_fn=lambda cid: None)),
            "the ServerApp sends messages",
        ),
        (
            lambda: run_simulation(ServerApp(strategy=FL.server.strategy.FedAvg()), adder(), 2),
            "the ServerApp has a strategy of clients, and the ClientApp answers messages",
        ),
    ],
)
def test_what_does_not_go_together_says_why(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        make()


def test_a_second_function_for_a_type_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is a function for 'train.default' already"):
        adder().train()


def test_a_grid_knows_its_nodes() -> None:
    def to(*nodes: int) -> Any:
        content = RecordDict({"arrays": ArrayRecord(INITIAL)})
        return lambda grid, context: grid.send_and_receive([Message(content, node, "evaluate") for node in nodes])

    with pytest.raises(UnknownName, match="there is no node '9'"):
        run(to(9))
    with pytest.raises(ConfigError, match="two messages of the type 'evaluate' go to one node"):
        run(to(1, 1))
    (reply,) = run(lambda grid, context: grid.send_and_receive([Message(RecordDict(), 0, "query")]))
    assert "there is no function for messages of type 'query.default'" in reply.error.reason


def test_too_few_nodes_are_told_of_at_once() -> None:
    with pytest.raises(CohortTooLarge, match="the strategy wants 2 nodes, and there are 1"):
        run(lambda grid, context: FedAvg().start(grid, ArrayRecord(INITIAL)), nodes=1)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({}, "expected one ArrayRecord in a reply, found 0"),
        ({"arrays": ArrayRecord(INITIAL)}, "expected one MetricRecord in a reply, found 0"),
        ({"arrays": ArrayRecord(INITIAL), "m": MetricRecord({"loss": 1})}, "the reply's metrics have no number"),
    ],
)
def test_a_reply_that_cannot_be_averaged_names_the_node(records: Any, said: str) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(RecordDict(records), reply_to=message)

    with pytest.raises(DataError, match=said) as raised:
        run(lambda grid, context: FedAvg(min_train_nodes=1).start(grid, ArrayRecord(INITIAL), num_rounds=1), app)
    assert raised.value.where.startswith("node ")
