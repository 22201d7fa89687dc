"""Messages between a ServerApp and its ClientApps, and the context that each of them is called with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hansa.core.work import Scalar
from hansa.errors import ConfigError
from hansa.interop.flower.records import RecordDict

UserConfig = dict[str, Scalar]


class MessageType:
    """The kinds of messages; "train.name" is an action of a program's own."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    QUERY = "query"


@dataclass
class Context:
    """What an app knows besides the message.

    Attributes:
        run_id: of the run.
        node_id: of the node.
        node_config: of the node: "partition-id" and "num-partitions".
        state: kept by the node from one message to the next; never leaves it.
        run_config: of the run.
    """

    run_id: int = 0
    node_id: int = 0
    node_config: UserConfig = field(default_factory=dict)
    state: RecordDict = field(default_factory=RecordDict)
    run_config: UserConfig = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """Why a message has no content.

    Attributes:
        code: a number of the kind of error.
        reason: for people.
    """

    code: int
    reason: str | None = None


@dataclass
class Metadata:
    """From whom to whom, and what about.

    Attributes:
        message_type: "train", "evaluate", "query", or one of these and an action: "train.name".
        dst_node_id: who gets it; 0 is the server.
        src_node_id: who sent it.
        group_id: of the program's own.
        message_id: unique in its run.
        reply_to_message_id: the message that it answers.
        run_id: of the run.
        ttl: how long it is good for, in seconds.
    """

    message_type: str
    dst_node_id: int
    src_node_id: int = 0
    group_id: str = ""
    message_id: str = ""
    reply_to_message_id: str = ""
    run_id: int = 0
    ttl: float = 43_200.0


class Message:
    """Records, or the error in their place, with from whom to whom.

    Args:
        content: the records, or an `Error`.
        dst_node_id: who gets it.
        message_type: what about; see `Metadata`.
        error: why there is no content.
        ttl: seconds.
        group_id: of the program's own.
        reply_to: the message that it answers, from which the rest is taken.

    Raises:
        ConfigError: it has neither content nor error, or nobody to go to.
    """

    def __init__(
        self,
        content: RecordDict | Error | None = None,
        dst_node_id: int | None = None,
        message_type: str | None = None,
        *,
        error: Error | None = None,
        ttl: float | None = None,
        group_id: str | None = None,
        reply_to: Message | None = None,
    ) -> None:
        if isinstance(content, Error):
            content, error = None, content
        if (content is None) is (error is None):
            raise ConfigError("a message has either content or an error", hint="pass a RecordDict, or an Error")
        self._content, self._error = content, error
        self.metadata = _metadata(dst_node_id, message_type, ttl, group_id, reply_to)

    @property
    def content(self) -> RecordDict:
        """The records. Raises ConfigError where there is an error instead."""
        if self._content is None:
            raise ConfigError(f"the message has no content: {self._error}", hint="ask has_content() first")
        return self._content

    @content.setter
    def content(self, content: RecordDict) -> None:
        """Other records instead."""
        self._content = content

    @property
    def error(self) -> Error:
        """The error. Raises ConfigError where there is none."""
        if self._error is None:
            raise ConfigError("the message has no error", hint="ask has_error() first")
        return self._error

    def has_content(self) -> bool:
        """Whether there are records."""
        return self._content is not None

    def has_error(self) -> bool:
        """Whether there is an error."""
        return self._error is not None

    def __repr__(self) -> str:
        return f"Message({self.metadata}, {self._error or self._content})"


def _metadata(
    dst_node_id: int | None, message_type: str | None, ttl: float | None, group_id: str | None, reply_to: Message | None
) -> Metadata:
    life: dict[str, Any] = {} if ttl is None else {"ttl": ttl}
    if reply_to is not None:
        asked = reply_to.metadata
        return Metadata(
            asked.message_type,
            asked.src_node_id,
            asked.dst_node_id,
            asked.group_id,
            reply_to_message_id=asked.message_id,
            run_id=asked.run_id,
            **life,
        )
    if dst_node_id is None or message_type is None:
        raise ConfigError(
            "a message goes to a node and has a type",
            hint="Message(content, dst_node_id=..., message_type=MessageType.TRAIN), or reply_to=the message",
        )
    return Metadata(message_type, dst_node_id, group_id=group_id or "", **life)
