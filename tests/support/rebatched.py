"""What tests of the rebatcher share."""

from __future__ import annotations

from etbac.runtime.rebatching import Rebatcher


def never_straight_on(together: Rebatcher) -> None:
    """Survivors wait in the pools, even where nobody else would join them."""
    together._scheduler.follow = lambda *run: None  # type: ignore[method-assign,assignment]
