"""What a measurement tells its guards."""

from collections.abc import Callable
from typing import Protocol, TypeVar

ResultT = TypeVar("ResultT")


class BlockGuard(Protocol):
    """Looks, after each block, whether what was read can be trusted."""

    def after_block(self, stop: int) -> None:
        """Look, now that the vectors below `stop` are stored.

        Raises
        ------
        SuspectBlocksError
            If they are not to be trusted.
        """
        ...


class Unguarded:
    """Trusts everything, where a campaign has no guards."""

    def after_block(self, stop: int) -> None:
        """Do nothing."""

    def run(self, measure: Callable[[], ResultT]) -> ResultT:
        """Return what `measure` returns."""
        return measure()
