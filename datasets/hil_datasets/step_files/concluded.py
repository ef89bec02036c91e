"""What was concluded from a step, as a step file stores it."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.circumstance import Circumstance
from hil_datasets.content_id import StepIds, content_hash, step_ids
from hil_datasets.step import StepConclusion
from hil_datasets.step_files.schema import QUALITY_DATASETS, STEP_DATASET_BY_PATH
from hil_datasets.step_files.stored_errors import errors_to_json


def concluded_arrays(conclusion: StepConclusion) -> dict[str, npt.NDArray[Any]]:
    """Return the datasets of a step file, by their paths."""
    correction, registers = conclusion.correction, conclusion.registers
    arrays: dict[str, npt.NDArray[Any]] = {
        "correction/a_p": correction.a_p,
        "correction/a_n": correction.a_n,
        "correction/b": correction.b,
        "correction/a_p_errors": conclusion.a_p_se,
        "correction/a_n_errors": conclusion.a_n_se,
        "correction/b_errors": conclusion.b_se,
        "correction/residual_rms": conclusion.residual_rms,
        "correction/r_squared": conclusion.r_squared,
        "correction/saturated_counts": conclusion.saturated_counts,
        "coefficients/scale_p": registers.scale_p,
        "coefficients/scale_n": registers.scale_n,
        "coefficients/offset": registers.offset,
        "coefficients/swap": registers.swap.astype(np.uint8),
        "coefficients/flags": conclusion.flags,
        "verification/column_rms": conclusion.column_rms,
    }
    if conclusion.quality is not None:
        arrays |= {
            path: getattr(conclusion.quality, path.rpartition("/")[2]) for path in QUALITY_DATASETS
        }
    if conclusion.outputs is not None:
        arrays["verification/outputs"] = conclusion.outputs
    return arrays


def concluded_attributes(conclusion: StepConclusion) -> dict[str, Any]:
    """Return the attributes of a step file, by their paths."""
    return {
        "correction/output_lsb": float(conclusion.output_lsb),
        "correction/global_gain": float(conclusion.global_gain),
        "coefficients/nmpu": conclusion.fmt.to_dict(),
        "verification/errors": errors_to_json(conclusion.errors),
        "verification/errors_all_columns": errors_to_json(conclusion.errors_all_columns),
        "verification/nmpu_mismatches": conclusion.nmpu_mismatches,
    }


def concluded_sha256(conclusion: StepConclusion) -> str:
    """Return the hash of everything that was concluded, which the journal holds.

    Unlike ids it is of quality and verification too, and of no parent: what is hashed are the
    datasets and attributes of these two functions, sorted, under their paths in a step file of
    today's version, whichever version holds them.
    """
    values = {
        path: value.hex() if isinstance(value, float) else json.dumps(value, sort_keys=True)
        for path, value in sorted(concluded_attributes(conclusion).items())
    }
    arrays = {
        path: (array, np.dtype(STEP_DATASET_BY_PATH[path].dtype).newbyteorder("<").str)
        for path, array in sorted(concluded_arrays(conclusion).items())
    }
    return content_hash("conclusion", [], values=values, arrays=arrays)


def concluded_misfit(found: str, journaled: str) -> str:
    """Say how a step's conclusions are not those that its journal tells; nothing if they are.

    Parameters
    ----------
    found
        Their hash.
    journaled
        The hash that the journal has; empty in one from before it had any.

    Examples
    --------
    >>> concluded_misfit("ab", "")
    ''
    """
    if not journaled or found == journaled:
        return ""
    return (
        "correction, coefficients, quality or verification was changed: concluded_sha256 is "
        f"{found}, the journal's {journaled}"
    )


def concluded_ids(
    conclusion: StepConclusion, raw_sha256: str, circumstance: Circumstance
) -> StepIds:
    """Return the ids of what was concluded from a step.

    Parameters
    ----------
    conclusion, raw_sha256
        What was concluded, and the hash of the step's own readouts.
    circumstance
        Says whose correction the step carries, if it is not its own.
    """
    source = circumstance.correction_of
    return step_ids(conclusion, raw_sha256 if source is None else source.raw_sha256)


def id_attributes(ids: StepIds) -> dict[str, Any]:
    """Return the attributes of a step file that name its ids and their parents."""
    return {
        "correction/id": ids.correction,
        "correction/parents": [ids.raw],
        "coefficients/id": ids.coefficients,
        "coefficients/parents": [ids.correction],
    }
