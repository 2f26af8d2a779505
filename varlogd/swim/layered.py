"""A dictionary over another one that it shares: thousands of views that differ in little, in one process.

In a simulation of n nodes each of n views has n entries, nearly all of them the same in all views. So a view may
begin as a *base* that all share, and own what was changed in it or looked up, which is little for as long as little
happens: what n views take then grows with n, and not with its square. Whoever asks for everything gets a dictionary
of its own.

It is a `dict`, so that what it owns is looked up as quickly as ever. A daemon, which has no base, has plain ones.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TypeVar

V = TypeVar("V")


class Layered(dict[str, V]):
    """Begins as ``base``, which must not change from now on."""

    __slots__ = ("_base", "_gone", "_shared")

    def __init__(self, base: Mapping[str, V]) -> None:
        super().__init__()
        self._base = base
        self._gone: set[str] = set()  # in the base, and not here
        self._shared = len(base)  # entries that are in the base only

    def __missing__(self, key: str) -> V:
        """Called by ``self[key]`` for what is not owned yet: from now on it is."""
        if key in self._gone:
            raise KeyError(key)
        value = self._base[key]
        super().__setitem__(key, value)
        self._shared -= 1
        return value

    def __setitem__(self, key: str, value: V) -> None:
        self._take_over(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._take_over(key)
        super().__delitem__(key)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (self._shared > 0 and key in self._base and key not in self._gone)

    def __len__(self) -> int:
        return super().__len__() + self._shared

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def get(self, key: str, default: V | None = None) -> V | None:  # type: ignore[override]
        try:
            return self[key]
        except KeyError:
            return default

    def pop(self, key: str, default: V | None = None) -> V | None:  # type: ignore[override]
        """As of a dictionary, and None is what stands for no default."""
        if default is None or key in self:
            value = self[key]
            del self[key]
            return value
        return default

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        self._own_all()
        return super().keys()

    def values(self) -> ValuesView[V]:  # type: ignore[override]
        self._own_all()
        return super().values()

    def items(self) -> ItemsView[str, V]:  # type: ignore[override]
        self._own_all()
        return super().items()

    def _take_over(self, key: str) -> None:
        """Own what the base has of this."""
        if self._shared and key in self:
            self[key]

    def _own_all(self) -> None:
        """Share nothing any more; what the base had comes first."""
        if self._shared:
            own = list(super().items())
            super().clear()
            super().update((key, value) for key, value in self._base.items() if key not in self._gone)
            super().update(own)
            self._shared = 0
