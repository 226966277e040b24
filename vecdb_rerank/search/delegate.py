"""A client that stands in for another one: the base of the drop-in clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

_STATE = frozenset({"_wrapped", "_drop_in"})


class Delegate:
    """A native client whose every attribute is a wrapped client's, except those defined here.

    A drop-in derives from this class and from the native one, in that order. What the drop-in
    defines is read, set and deleted on the object itself, everything else on the wrapped client.
    `isinstance` sees the wrapped client's class as well, even if that is a subclass of the native
    one.
    """

    _wrapped: object
    _own: ClassVar[frozenset[str]] = _STATE

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ours = [base for base in cls.__mro__ if issubclass(base, Delegate)]
        cls._own = _STATE.union(*map(vars, ours))

    if not TYPE_CHECKING:  # a type checker shall see the attributes of the native client alone

        def __getattribute__(self, name: str) -> Any:
            state = object.__getattribute__(self, "__dict__")
            if "_wrapped" not in state:  # before __init__, or while it is being copied
                return object.__getattribute__(self, name)
            if name == "__dict__":  # `mock.patch` looks here for what it has to restore
                return {**vars(state["_wrapped"]), **state}
            if name.startswith("__") or name in type(self)._own:
                return object.__getattribute__(self, name)
            return getattr(state["_wrapped"], name)

        @property
        def __class__(self) -> type:
            return type(self._wrapped)

    def __setattr__(self, name: str, value: object) -> None:
        if name in type(self)._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._wrapped, name, value)

    def __delattr__(self, name: str) -> None:
        if name in type(self)._own:
            object.__delattr__(self, name)
        else:
            delattr(self._wrapped, name)

    def __dir__(self) -> Iterable[str]:
        return dir(self._wrapped)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wrapped!r})"

    def __del__(self) -> None:
        """Leave the wrapped client open, which a native client's finalizer would close."""
