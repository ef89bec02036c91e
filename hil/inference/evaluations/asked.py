"""From options, as the command line or a file names them, to a request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hil.campaign.bench import require_resource
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.inference.computing.execution import SumArithmetic
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.demo import DEMO_MODEL, demo_files
from hil.inference.evaluations.chip_choice import is_modelled
from hil.inference.evaluations.request import (
    CALIBRATION_IMAGES,
    ChipChoice,
    EvaluationRequest,
    NetworkChoice,
)
from hil.inference.evaluations.request_file import nmpu_format_of
from hil.inference.evaluations.request_words import ages_of, corrections_of, treatments_of
from hil.inference.findings.store import DEMO
from hil.inference.image_data.images import Normalisation
from hil.inference.placing.value_range import RangeRule
from hil_drivers.chip_driver import DEFAULT_DRIVER

_DEMO_DEVICE = "mock://hermes-like"
_MOCK = "mock://"


def asked_request(options: Mapping[str, Any], out: Path) -> EvaluationRequest:
    """Return the request of options.

    Parameters
    ----------
    options
        By name; what was not said is None or missing.
    out
        Folder of the evaluation: the demo's network and images will be there.

    Raises
    ------
    ConfigError
        If options are wrong or do not go together.
    """
    network = _network_choice(options, out)
    chip = _chip_choice(options)
    ages_s = _checked("--drift", ages_of, options.get("drift") or ())
    if ages_s and chip.run is None and chip.resource is None:
        raise _refusal("--drift", "exact arithmetic does not age: leave out --drift")
    treatments = options.get("treatments")
    if treatments is not None and not ages_s and chip.coefficients is None:
        message = (
            "are of a chip that has become older, or of stored coefficients: give ages with "
            "--drift, or a run with --coefficients"
        )
        raise _refusal("--treatments", message)
    switch_off = bool(options.get("switch_off"))
    if switch_off and chip.coefficients is not None:
        message = "calibrates the chip anew without each flaw: leave out --coefficients"
        raise _refusal("--switch-off", message)
    if switch_off and (chip.resource is None or not is_modelled(chip)):
        message = "needs a simulated chip: --device mock://PROFILE, without --backend device"
        raise _refusal("--switch-off", message)
    kinds = options.get("corrections")
    return EvaluationRequest(
        network=network,
        chip=chip,
        corrections=(
            tuple(CorrectionKind)
            if kinds is None
            else _checked("--corrections", corrections_of, kinds)
        ),
        ages_s=ages_s,
        treatments=(
            None if treatments is None else _checked("--treatments", treatments_of, treatments)
        ),
        ranges=RangeRule(options.get("ranges") or RangeRule.PERCENTILE),
        sums=SumArithmetic(options.get("sums") or SumArithmetic.INT8),
        switch_off=switch_off,
        fmt=nmpu_format_of(options.get("preset"), options.get("parameters"), source="--format"),
        seed=options.get("seed") or 0,
    )


def _network_choice(options: Mapping[str, Any], out: Path) -> NetworkChoice:
    if options.get("model") == DEMO:
        return _demo_choice(options, out)
    model, data = options.get("model"), options.get("data")
    for name, value in (("--model", model), ("--data", data)):
        if value is None:
            raise _refusal(name, "is missing: give a network and images, or --demo")
    mean, std = options.get("mean"), options.get("std")
    if (mean is None) != (std is None):
        raise _refusal("--mean", "and --std belong together: give both or none")
    return NetworkChoice(
        model=str(model),
        weights=options.get("weights"),
        data=Path(str(data)),
        calibration_data=options.get("calibration_data"),
        normalisation=(None if mean is None or std is None else Normalisation(mean=mean, std=std)),
        images=options.get("images"),
        calibration_images=options.get("calibration_images") or CALIBRATION_IMAGES,
    )


def _demo_choice(options: Mapping[str, Any], out: Path) -> NetworkChoice:
    files = demo_files(out / DEMO)
    return NetworkChoice(
        model=DEMO_MODEL,
        weights=files.weights,
        data=files.images,
        calibration_data=files.training_images,
        normalisation=Normalisation(mean=(0.5,), std=(0.5,)),
        images=options.get("images"),
        calibration_images=options.get("calibration_images") or CALIBRATION_IMAGES,
    )


def _chip_choice(options: Mapping[str, Any]) -> ChipChoice:
    run, resource, backend = options.get("run"), options.get("device"), options.get("backend")
    coefficients = options.get("coefficients")
    if run is not None and resource is not None:
        raise _refusal("--run", "and --device exclude each other; use one")
    if backend == "ideal":
        if run is not None or resource is not None:
            raise _refusal("--backend", "ideal multiplies exactly: leave out --run and --device")
        if coefficients is not None:
            raise _refusal("--coefficients", "are of a chip: leave out --backend ideal")
    elif run is None and resource is None:
        if options.get("model") != DEMO:
            raise _refusal("--device", "is missing: give --run RUN or --device RESOURCE")
        resource = _DEMO_DEVICE
    if backend == "device" and resource is None:
        raise _refusal("--backend", "device needs --device RESOURCE: a run is no device")
    if backend == "model" and resource is not None and not resource.startswith(_MOCK):
        message = "model needs --run RUN or --device mock://PROFILE: of a device nobody has a model"
        raise _refusal("--backend", message)
    driver = options.get("driver") or DEFAULT_DRIVER
    if resource is not None:
        require_resource(resource, driver, where="--device")
    mode = options.get("read_mode")
    return ChipChoice(
        run=run,
        resource=resource,
        coefficients=coefficients,
        base=options.get("base") or Path.cwd(),
        through_driver=backend == "device",
        read_mode=None if mode is None else ReadMode(mode),
        driver=driver,
        timeout_s=options.get("timeout_s") or 10.0,
        seed=options.get("seed") or 0,
        torch_device=options.get("torch_device") or "cpu",
    )


def _checked(option: str, parse: Any, words: Sequence[str]) -> Any:
    try:
        return parse(list(words))
    except ValueError as error:
        raise _refusal(option, str(error)) from error


def _refusal(option: str, message: str) -> ConfigError:
    return ConfigError(option, [Problem("", message)])
