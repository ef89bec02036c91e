"""Programming a core exactly once: it wears the devices, and cannot be taken back."""

import numpy as np
import numpy.typing as npt

from hil_drivers.board_answers import Programmings, crc_of_weights
from hil_drivers.board_requests import BoardRequests
from hil_drivers.exactly_once import ExactlyOnce
from hil_drivers.link_fault import FaultKind, UnknownOutcomeError
from hil_drivers.session import Session


def program_once(
    session: Session,
    requests: BoardRequests,
    once: ExactlyOnce,
    core: int,
    weights: npt.NDArray[np.int8],
) -> None:
    """Program a core's weights, shape (row, column).

    Parameters
    ----------
    session, requests
        The conversation, for messages, and what is said in it.
    once
        Carries it out through faults of the link.
    core, weights
        What to program.

    Raises
    ------
    UnknownOutcomeError
        If what the core remembers does not tell whether it was programmed.
    """
    due = crc_of_weights(weights)
    before: list[Programmings] = []

    def operation() -> bool:
        before[:] = [requests.programmings(core)]
        requests.program(core, weights)
        return True

    def settle() -> bool | None:
        """Tell whether it was programmed: True, or None where it has to begin again."""
        if not before:
            return None
        after = requests.programmings(core)
        if after == before[0]:
            return None
        if after == Programmings(before[0].times + 1, due):
            return True
        if after == Programmings(before[0].times + 1, 0):
            detail = f"core {core}: programming began and did not end"
            once.tell(FaultKind.HALF_PROGRAMMED, detail)
            return None
        raise UnknownOutcomeError(
            f"{session.resource}: core {core}: it cannot be told whether it was programmed: "
            f"{before[0].times} times before and {after.times} times now, weights of CRC "
            f"{after.weights_crc:#010x} where {due:#010x} is due; program it again if its wear "
            "allows that"
        )

    once.run(operation, settle=settle)
