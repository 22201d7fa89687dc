"""ClientApp: what a node runs. Either `client_fn`, which makes client classes, or functions of messages, one for each type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from hansa.errors import ConfigError, UnknownName
from hansa.interop.flower.message import Context, Message, MessageType

Handler = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Handler], Message]
"""Sees a message on its way in and the reply on its way out: it calls the handler itself."""


class ClientApp:
    """What a node runs.

    Args:
        client_fn: makes a client for each visit; instead of functions of messages.
        mods: around every function, the first outermost.

    Raises:
        ConfigError: `client_fn` and mods together.
    """

    def __init__(self, client_fn: Callable[..., object] | None = None, mods: Sequence[Mod] | None = None) -> None:
        if client_fn is not None and mods:
            raise ConfigError(
                "mods change messages, and the clients that client_fn makes get none",
                hint="register functions with @app.train() and @app.evaluate() instead",
            )
        self.client_fn, self._mods = client_fn, tuple(mods or ())
        self._handlers: dict[str, Handler] = {}
        self._lifespan: Callable[[Context], AbstractContextManager[None]] = lambda _: nullcontext()

    def train(self, action: str = "default", *, mods: Sequence[Mod] | None = None) -> Callable[[Handler], Handler]:
        """Registers a function for messages of the type "train", or "train.action"."""
        return self._registers(MessageType.TRAIN, action, mods)

    def evaluate(self, action: str = "default", *, mods: Sequence[Mod] | None = None) -> Callable[[Handler], Handler]:
        """Registers a function for messages of the type "evaluate", or "evaluate.action"."""
        return self._registers(MessageType.EVALUATE, action, mods)

    def query(self, action: str = "default", *, mods: Sequence[Mod] | None = None) -> Callable[[Handler], Handler]:
        """Registers a function for messages of the type "query", or "query.action"."""
        return self._registers(MessageType.QUERY, action, mods)

    def lifespan(self) -> Callable[[Callable[[Context], Iterator[None]]], Callable[[Context], Iterator[None]]]:
        """Registers a generator that runs around every message: before its `yield`, and after."""

        def register(lifespan: Callable[[Context], Iterator[None]]) -> Callable[[Context], Iterator[None]]:
            self._lifespan = contextmanager(lifespan)
            return lifespan

        return register

    def __call__(self, message: Message, context: Context) -> Message:
        """The reply to a message.

        Raises:
            UnknownName: no function was registered for its type.
            ConfigError: what was registered returned no message.
        """
        category, _, action = message.metadata.message_type.partition(".")
        name = f"{category}.{action or 'default'}"
        if name not in self._handlers:
            raise UnknownName.among("function for messages of type", name, self._handlers)
        with self._lifespan(context):
            reply = self._handlers[name](message, context)
        if not isinstance(reply, Message):
            raise ConfigError(
                f"the function for {name!r} returned {type(reply).__name__}, expected a Message",
                hint="return Message(content=..., reply_to=message)",
            )
        return reply

    def _registers(self, category: str, action: str, mods: Sequence[Mod] | None) -> Callable[[Handler], Handler]:
        name = f"{category}.{action}"
        if self.client_fn is not None:
            raise ConfigError(
                f"this app has a client_fn, and a function for {name!r} besides",
                hint="use either client_fn, or functions of messages",
            )
        if name in self._handlers:
            raise ConfigError(f"there is a function for {name!r} already", hint="give the action a name of its own")

        def register(handler: Handler) -> Handler:
            self._handlers[name] = _within((*self._mods, *(mods or ())), handler)
            return handler

        return register


def _within(mods: Sequence[Mod], handler: Handler) -> Handler:
    """A handler with mods around it, the first outermost."""
    for mod in reversed(mods):
        handler = _around(mod, handler)
    return handler


def _around(mod: Mod, handler: Handler) -> Handler:
    return lambda message, context: mod(message, context, handler)
