"""Input vectors that a campaign draws itself, from its seed."""

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil_calibration.stimulus import spread_amplitudes, uniform_inputs


def own_inputs(config: CampaignConfig, *, core: int, rows: int) -> npt.NDArray[np.int8]:
    """Draw the vectors of a core: those that calibrate, then those held out.

    Parameters
    ----------
    config
        How many, and of what kind.
    core
        Number of the core: each has vectors of its own.
    rows
        Inputs of a vector.

    Returns
    -------
    Shape (vector, row).
    """
    # A stream for each, so that changing one number of vectors leaves the rest as it was.
    counts = (config.vectors.calibration, config.vectors.verification)
    return np.concatenate(
        [
            _draw(config, [config.campaign.seed, core, stream], vectors, rows)
            for stream, vectors in enumerate(counts, start=1)
        ]
    )


def _draw(config: CampaignConfig, seed: list[int], vectors: int, rows: int) -> npt.NDArray[np.int8]:
    codes = uniform_inputs(
        np.random.default_rng(seed), vectors=vectors, rows=rows, zeros=config.vectors.zeros
    )
    if config.vectors.amplitudes == "spread":
        return spread_amplitudes(np.random.default_rng([*seed, 1]), codes)
    return codes
