"""The Grid: messages to nodes and their replies. All messages of one type that are sent at once are one ask of an executor.

This file must not know who carries asks out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hansa.core import tree
from hansa.core.ask import Ask, Closing, Executor, Input, Outcome, Status
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Scalar, Settings, Update
from hansa.errors import ConfigError, UnknownName
from hansa.interop.flower.clientapp import ClientApp
from hansa.interop.flower.message import Context, Error, Message, Metadata
from hansa.interop.flower.packing import TEXT, from_leaf, from_tree, pack, to_leaf, to_tree, unpack
from hansa.interop.flower.records import RecordDict
from hansa.interop.flower.works import numbers
from hansa.rules import Collect

RECORDS, TYPE, GROUP, OWN = "records", "type", "group", "own"
"""The settings of an ask: what is no array, the messages' type and group, and that a node has content of its own."""

FAILED = 0
"""The code of the error of a node whose app raised; what Flower calls unknown."""


@dataclass(frozen=True)
class MessageWork:
    """Let a node's app answer a message.

    Attributes:
        app: the program's own.
        partitions: the nodes' numbers.
        run_config: what contexts say of the run.
    """

    app: ClientApp
    partitions: Mapping[ClientId, int]
    run_config: Settings = field(default_factory=dict)

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: the update's tree holds the reply's records."""
        number, said = self.partitions[context.id], context.settings
        node = {"partition-id": number, "num-partitions": len(self.partitions)}
        state = Context(0, number, dict[str, Scalar](node), from_tree(context.state), dict(self.run_config))
        content = unpack(context.inputs if said[OWN] else broadcast, str(said[RECORDS]))
        asked = Message(content, number, str(said[TYPE]), group_id=str(said[GROUP]))
        reply = self.app(asked, state)
        if reply.has_error():
            raise ConfigError(f"the app replied with error {reply.error.code}: {reply.error.reason}")
        arrays, text = pack(reply.content)
        measured = {name: value for record in reply.content.metric_records.values() for name, value in record.items()}
        kept = to_tree(state.state) if state.state or context.state else None
        return Update({**arrays, TEXT: to_leaf(text)}, 1.0, numbers(measured, 1.0), kept)


class Grid:
    """Messages to nodes.

    Args:
        executor: carries asks out; its clients are the nodes.
        nodes: each node's number, by client.
        timeout: seconds that nodes have, where a call says nothing else.
    """

    def __init__(self, executor: Executor, nodes: Mapping[ClientId, int], timeout: float | None = None) -> None:
        self._executor, self._timeout = executor, timeout
        self._clients = {number: client for client, number in nodes.items()}
        self._numbers, self._sent = dict(nodes), Counter[str]()
        self._ids, self._replies = itertools.count(1), dict[str, Message]()

    def get_node_ids(self) -> list[int]:
        """The nodes that can be asked now."""
        return [self._numbers[client] for client in self._executor.population().ids]

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and wait for the replies, in the order of the messages; a node that failed replies with an error.

        Args:
            messages: at most one of a type to each node.
            timeout: seconds after which nobody is waited for.

        Raises:
            UnknownName: there is no such node.
            ConfigError: two messages of one type go to one node.
        """
        sent = list(messages)
        for message in sent:
            message.metadata.message_id = str(next(self._ids))
            if message.metadata.dst_node_id not in self._clients:
                raise UnknownName.among("node", message.metadata.dst_node_id, self._clients)
        types = dict.fromkeys(message.metadata.message_type for message in sent)
        replies: dict[str, Message] = {}
        for kind in types:
            replies |= self._asked(kind, [each for each in sent if each.metadata.message_type == kind], timeout)
        return [replies[id_] for message in sent if (id_ := message.metadata.message_id) in replies]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; their replies can be pulled by the ids that this returns."""
        sent = list(messages)
        self._replies |= {reply.metadata.reply_to_message_id: reply for reply in self.send_and_receive(sent)}
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to messages that were pushed."""
        return [self._replies.pop(id_) for id_ in list(message_ids) if id_ in self._replies]

    def _asked(self, kind: str, messages: Sequence[Message], timeout: float | None) -> dict[str, Message]:
        """The replies to messages of one type, by the ids of the messages."""
        by_client = {self._clients[message.metadata.dst_node_id]: message for message in messages}
        if len(by_client) != len(messages):
            raise ConfigError(f"two messages of the type {kind!r} go to one node", hint="send them one after the other")
        reply = self._executor.execute(self._ask(kind, by_client, timeout))
        answers = tree.parts(reply.aggregate)
        return {
            by_client[client].metadata.message_id: _reply(by_client[client], answers.get(client), outcome)
            for client, outcome in reply.outcomes.items()
            if outcome.status is not Status.DROPPED
        }

    def _ask(self, kind: str, messages: Mapping[ClientId, Message], timeout: float | None) -> Ask:
        """Content that all messages share goes to everyone, content of its own to each node."""
        first = next(iter(messages.values()))
        shared = all(message.content is first.content for message in messages.values())
        arrays, text = pack(first.content) if shared else ({}, "[]")
        inputs = {} if shared else {client: _own(message) for client, message in messages.items()}
        self._sent[kind] += 1
        return Ask(
            "message",
            arrays,
            tuple(messages),
            Collect(),
            round=self._sent[kind],
            version=self._sent[kind] - 1,
            settings={RECORDS: text, TYPE: kind, GROUP: first.metadata.group_id, OWN: False},
            closing=Closing.quorum(1, timeout or self._timeout),
            inputs=inputs,
        )


def _own(message: Message) -> Input:
    arrays, text = pack(message.content)
    return Input(arrays, {RECORDS: text, GROUP: message.metadata.group_id, OWN: True})


def _reply(asked: Message, answer: Tree | None, outcome: Outcome) -> Message:
    if answer is None:
        reply = Message(Error(FAILED, outcome.why), reply_to=asked)
    else:
        records: Any = unpack({name: leaf for name, leaf in answer.items() if name != TEXT}, from_leaf(answer[TEXT]))
        reply = Message(records, reply_to=asked)
    meta: Metadata = reply.metadata
    meta.src_node_id, meta.dst_node_id = asked.metadata.dst_node_id, 0
    return reply
