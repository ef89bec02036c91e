"""IR drop: what the resistance of the lines takes from the cells.

Every line is a ladder: segments of wire between the cells, which conduct to ground. A word line is
driven at column 0, a bit line is read at row 0. With the other lines ideal, the share of the drive
that reaches a cell of a word line is the voltage there; and, by reciprocity, the share of a cell's
current that reaches the end of its bit line is the voltage that driving that end would give. Both
are solved exactly; a cell's weight is multiplied with both. A network of resistors is linear, so
this holds for every input. What is left out is of second order: a drop on one line changes the load
of the others.

The two devices of a weight have bit lines of their own and share a word line.
"""

import numpy as np
import numpy.typing as npt

from hil_mock_device.crossbar import LARGEST_CODE, FloatMatrix


def dropped_weights(weights: FloatMatrix, *, segment_resistance: float) -> FloatMatrix:
    """Return the weights that a core seems to hold behind its lines.

    Parameters
    ----------
    weights
        Weight codes, shape (row, column).
    segment_resistance
        Resistance of the wire from one cell to the next, in units of that of a cell at the largest
        conductance; 0 for none.
    """
    if segment_resistance == 0:
        return weights
    conductance = np.abs(weights) * (segment_resistance / LARGEST_CODE)
    word_line = ladder_voltages(conductance.T).T
    positive = ladder_voltages(np.where(weights > 0, conductance, 0.0))
    negative = ladder_voltages(np.where(weights < 0, conductance, 0.0))
    return weights * word_line * np.where(weights > 0, positive, negative)


def ladder_voltages(conductances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the voltages along ladders driven with 1 at their first end.

    Parameters
    ----------
    conductances
        From each node to ground, in units of that of one segment, shape (node, ladder). A segment
        lies before each node.
    """
    nodes = len(conductances)
    into = np.empty_like(conductances)
    # From the far end: what a segment and all behind it conduct, seen from before the segment.
    beyond = np.zeros(conductances.shape[1:])
    for node in reversed(range(nodes)):
        load = conductances[node] + beyond
        into[node] = 1 / (1 + load)
        beyond = load / (1 + load)
    return np.asarray(np.cumprod(into, axis=0), np.float64)
