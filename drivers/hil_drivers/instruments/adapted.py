"""An open instrument, whatever adapter its quantities use."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Protocol

from hil.core.errors import HilError, InstrumentError
from hil_drivers.instruments.controlled_quantity import ControlledQuantity, Setting
from hil_drivers.instruments.instrument import QuantitySpec


class InstrumentLink(Protocol):
    """The link that an instrument's quantities share."""

    @property
    def resource(self) -> str:
        """The resource string."""
        ...

    @property
    def identity(self) -> str:
        """What the instrument says it is."""
        ...

    def tell(self, text: str) -> None:
        """Have one command carried out; raise `DeviceError` if the instrument complains."""
        ...

    def take_errors(self) -> object:
        """Empty the error queue."""
        ...

    def close(self) -> None:
        """Close the link."""
        ...


class AdaptedInstrument:
    """Quantities that share one link.

    Parameters
    ----------
    link
        The link; closed with the instrument.
    quantities
        Its quantities by name.
    stop
        Commands sent after the quantities were made safe.
    """

    def __init__(
        self,
        link: InstrumentLink,
        quantities: Mapping[str, ControlledQuantity],
        *,
        stop: Sequence[str],
    ) -> None:
        self.identity = link.identity
        self.quantities = quantities
        self._link = link
        self._stop = stop

    def safe(self) -> None:
        """Make every quantity safe, the last one first, then send the stop commands.

        Raises
        ------
        InstrumentError
            If some of it could not be done; it names all that could not.
        """
        problems: list[str] = []

        def attempt(action: Callable[[], None]) -> None:
            try:
                action()
            except HilError as error:
                problems.append(str(error))

        # What stood in the queue before says nothing about the way to the safe values.
        with suppress(HilError):
            self._link.take_errors()
        with ExitStack() as stack:  # each runs, whatever the others raise, Ctrl-C included
            for command in reversed(self._stop):
                stack.callback(attempt, partial(self._link.tell, command))
            for quantity in self.quantities.values():
                stack.callback(attempt, quantity.safe)
        if problems:
            raise InstrumentError(f"may not be safe: {'; '.join(problems)}")

    def close(self) -> None:
        """Close the link."""
        self._link.close()


def adapt(
    link: InstrumentLink,
    quantities: Mapping[str, tuple[QuantitySpec, Setting]],
    *,
    identity: str,
    start: Sequence[str],
    stop: Sequence[str],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> AdaptedInstrument:
    """Make an instrument of an open link, or close it.

    Parameters
    ----------
    link
        The open link.
    quantities
        What may be done to each quantity, and how it is done.
    identity
        Regular expression that the whole identity must match; any where empty.
    start, stop
        Commands sent now, and after the quantities were made safe.
    clock, sleep
        Monotonic seconds, and how to wait for some.

    Raises
    ------
    InstrumentError
        If another instrument answers than is described.
    """
    try:
        _check_identity(link, identity)
        link.take_errors()  # somebody else's
        for command in start:
            link.tell(command)
    except BaseException:
        link.close()
        raise
    controlled = {
        name: ControlledQuantity(spec, setting, clock=clock, sleep=sleep)
        for name, (spec, setting) in quantities.items()
    }
    return AdaptedInstrument(link, controlled, stop=stop)


def _check_identity(link: InstrumentLink, pattern: str) -> None:
    if pattern and not re.fullmatch(pattern, link.identity):
        raise InstrumentError(
            f"{link.resource}: is {link.identity!r}: must match {pattern!r}; check the address"
        )
