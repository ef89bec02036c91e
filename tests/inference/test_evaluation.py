"""The conditions of an evaluation, on cores whose counts the test decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hil.core.nmpu_format import NmpuFormat
from hil.inference.conditions.baselines import predict_baselines
from hil.inference.conditions.plan import EvaluationPlan
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork, prepare_network
from hil.inference.evaluations.evaluation import evaluate_conditions
from hil.inference.findings.store import open_folder
from hil.inference.networks.network import trace_network
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.tiles import ProgrammedTile
from hil.inference.placing.value_range import RangeRule
from inference_chip import KnownCores, torch

TERMS = CalibrationTerms(fmt=NmpuFormat())


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.words: list[str] = []
        self.images = 0

    def on_words(self, words: str) -> None:
        self.words.append(words)

    def on_plan(self, *, images: int) -> None:
        raise AssertionError(images)

    def on_stage(self, words: str) -> None:
        self.stages.append(words)

    def on_images(self, images: int) -> None:
        self.images += images


class FadingCores(KnownCores):
    """Cores whose counts become half as large with every hour."""

    def __init__(self) -> None:
        super().__init__(gain=1 / 32)
        self.passed: list[float] = []
        self.programmed = 0

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        self.programmed += 1
        super().program(tiles)

    def load(self, core: int, fmt: Any, registers: Any) -> None:
        pass

    def advance_time(self, seconds: float) -> None:
        self.passed.append(seconds)
        self.gain *= 0.5 ** (seconds / 3600)

    def corrected(self, core: int, input_codes: Any, *, first: int) -> Any | None:
        return None


def _network() -> Any:
    """Four classes: which of four pixels is brightest."""
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4))
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(4) - 0.25)
        module[1].bias.zero_()
    return trace_network(module, image_shape=(1, 2, 2), source="brightest")


def _images() -> Any:
    generator = torch.Generator().manual_seed(5)
    images = 0.5 * torch.rand((40, 1, 2, 2), generator=generator)
    chosen = torch.arange(40) % 4
    images[torch.arange(40), 0, chosen // 2, chosen % 2] += 1.0
    return images


def _prepared() -> PreparedNetwork:
    network = _network()
    tiles = map_layers(network.layers, rows=300, columns=300, cores=8)
    return prepare_network(network, tiles, _images(), rule=RangeRule.MAX)


def test_aged_conditions_come_stale_then_calibrated_again() -> None:
    plan = EvaluationPlan(
        corrections=(CorrectionKind.NONE, CorrectionKind.NMPU), ages_s=(3600.0, 86400.0),
        terms=TERMS,
    )  # fmt: skip
    assert [condition.name for condition in plan.conditions] == [
        "none_0s", "nmpu_0s",
        "none_3600s", "nmpu_3600s", "nmpu_3600s_recalibrated",
        "none_86400s", "nmpu_86400s", "nmpu_86400s_recalibrated",
    ]  # fmt: skip


def test_treatments_come_in_their_order_and_none_is_not_calibrated_again() -> None:
    plan = EvaluationPlan(
        corrections=(CorrectionKind.NONE, CorrectionKind.NMPU), ages_s=(3600.0,),
        treatments=(Treatment.RECALIBRATED, Treatment.ADABS), terms=TERMS,
    )  # fmt: skip
    assert [condition.name for condition in plan.conditions] == [
        "none_0s", "nmpu_0s", "nmpu_3600s_recalibrated", "none_3600s_adabs", "nmpu_3600s_adabs",
    ]  # fmt: skip


def test_chip_is_programmed_once_ages_by_differences_and_is_calibrated_again_once_an_age(
    tmp_path: Path,
) -> None:
    cores, heard = FadingCores(), Heard()
    plan = EvaluationPlan(
        corrections=(CorrectionKind.FLOAT, CorrectionKind.FP16), ages_s=(3600.0, 10800.0),
        terms=TERMS,
    )  # fmt: skip
    folder = open_folder(tmp_path / "out", {})
    results = list(
        evaluate_conditions(plan, _prepared(), cores, _images(), folder=folder, observer=heard)
    )
    assert cores.programmed == 1
    assert cores.passed == [3600.0, 7200.0]
    assert heard.stages.count("calibrating") == 1
    assert heard.stages.count("calibrating again") == 2
    assert heard.images == 40 * 10
    # The brightest of four pixels is the class; the outputs' order survives a common factor.
    expected = (torch.arange(40) % 4).tolist()
    by_name = {result.condition.name: result for result in results}
    assert by_name["float_0s"].predictions.tolist() == expected
    assert by_name["float_10800s_recalibrated"].predictions.tolist() == expected
    # Three hours leave an eighth of the counts: what is said is 7/8 too small.
    assert by_name["float_10800s"].layer_errors[0] == pytest.approx(7 / 8, abs=0.02)
    assert by_name["float_10800s_recalibrated"].layer_errors[0] < 0.05


def test_known_conditions_are_not_computed_again(tmp_path: Path) -> None:
    plan = EvaluationPlan(corrections=(CorrectionKind.FLOAT,), terms=TERMS)
    folder, prepared = open_folder(tmp_path / "out", {}), _prepared()
    (first,) = evaluate_conditions(
        plan, prepared, FadingCores(), _images(), folder=folder, observer=Heard()
    )
    cores, heard = FadingCores(), Heard()
    (again,) = evaluate_conditions(plan, prepared, cores, _images(), folder=folder, observer=heard)
    assert (cores.programmed, cores.asked) == (0, [])
    assert again.predictions.tolist() == first.predictions.tolist()
    assert (again.seconds, heard.images) == (first.seconds, 40)


def test_conditions_that_finished_before_an_interruption_are_stored(tmp_path: Path) -> None:
    plan = EvaluationPlan(
        corrections=(CorrectionKind.GLOBAL, CorrectionKind.FLOAT), ages_s=(3600.0,), terms=TERMS
    )
    folder = open_folder(tmp_path / "out", {})
    running = evaluate_conditions(
        plan, _prepared(), FadingCores(), _images(), folder=folder, observer=Heard()
    )
    next(iter(running))
    del running  # the process ended here
    assert [path.name for path in (tmp_path / "out" / "conditions").iterdir()] == ["global_0s.npz"]
    cores = FadingCores()
    rest = list(
        evaluate_conditions(plan, _prepared(), cores, _images(), folder=folder, observer=Heard())
    )
    assert len(rest) == 6
    assert cores.passed == [3600.0]


def test_every_condition_has_the_same_vector_numbers(tmp_path: Path) -> None:
    cores = FadingCores()
    plan = EvaluationPlan(corrections=(CorrectionKind.GLOBAL, CorrectionKind.FLOAT), terms=TERMS)
    folder = open_folder(tmp_path / "out", {})
    list(evaluate_conditions(plan, _prepared(), cores, _images(), folder=folder, observer=Heard()))
    # All 40 images calibrate (one vector each); images follow them, in both conditions.
    assert [first for _, first, vectors, _ in cores.asked] == [0, 0, 40, 40]


def test_baselines_are_the_network_itself_and_its_codes() -> None:
    prepared, heard = _prepared(), Heard()
    found = predict_baselines(prepared, _images(), heard)
    expected = (torch.arange(40) % 4).tolist()
    assert found.as_float.tolist() == expected
    assert found.with_int8_weights.tolist() == expected
    assert found.with_int8.tolist() == expected
    assert heard.images == 120
