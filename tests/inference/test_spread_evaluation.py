"""An evaluation computed by several processes: the same bits as by one."""

from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'aimc-hil[inference]'")

from evaluation_bench import demo_out, evaluate, small_chip, trained_demo
from hil.core.errors import ConfigError
from hil.inference.conditions.observing import Unheard
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.evaluations.request import ChipChoice, EvaluationRequest, NetworkChoice
from hil.inference.evaluations.spreading import spread_conditions
from hil.inference.evaluations.subject import located, open_subject
from hil.inference.evaluations.tasks import SpanTask, predict_span
from hil.inference.findings.store import open_folder
from hil.inference.image_data.images import Normalisation
from hil.scale.processes import ThisProcess

CONFIG = 3
IMAGES = 130
"""One task of 128 images and one of two."""


def _arrays(out: Path) -> dict[str, dict[str, bytes]]:
    found = {}
    for path in sorted(out.glob("c*/*.npz")):
        with np.load(path) as stored:
            found[path.name] = {
                name: stored[name].tobytes()
                for name in stored.files
                if name not in ("seconds", "content_sha256")
            }
    return found


def _evaluated(folder: Path, *, workers: int) -> Path:
    out = demo_out(folder, f"out{workers}")
    ended = evaluate(
        "--demo", "--images", IMAGES, "--calibration-images", 16, "--device", small_chip(folder),
        "--corrections", "nmpu", "--drift", "1d", "--treatments", "adabs", "--out", out,
        "--workers", workers,
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    return out


def test_what_is_stored_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    alone, spread = _evaluated(tmp_path, workers=1), _evaluated(tmp_path, workers=2)
    found = _arrays(alone)
    assert list(found) == ["0s.npz", "nmpu_0s.npz", "nmpu_86400s_adabs.npz"]
    assert len(found["nmpu_0s.npz"]["predictions"]) == 8 * IMAGES
    assert _arrays(spread) == found
    ids = []
    for out in (alone, spread):
        with h5py.File(out / "evaluation.h5") as file:
            ids.append(file.attrs["evaluation_id"])
    assert ids[0] == ids[1]


def _request(folder: Path) -> EvaluationRequest:
    files = trained_demo()
    return EvaluationRequest(
        network=NetworkChoice(
            model="hil.inference.demo:make_network",
            weights=files.weights,
            data=files.images,
            calibration_data=files.training_images,
            normalisation=Normalisation(mean=(0.5,), std=(0.5,)),
            images=IMAGES,
            calibration_images=16,
        ),
        chip=ChipChoice(resource=small_chip(folder)),
        corrections=(CorrectionKind.NONE, CorrectionKind.GLOBAL),
    )


def test_conditions_that_were_answered_are_stored_before_the_next(tmp_path: Path) -> None:
    with open_subject(_request(tmp_path), Unheard()) as subject:
        folder = open_folder(tmp_path / "out", {})
        running = spread_conditions(subject, ThisProcess(), folder=folder, observer=Unheard())
        first = next(running)
        running.close()  # type: ignore[attr-defined] # it is a generator
        assert [path.name for path in (tmp_path / "out" / "conditions").iterdir()] == [
            "none_0s.npz"
        ]
        calibrations = tmp_path / "out" / "calibrations" / "0s.npz"
        assert calibrations.exists()
        folder = open_folder(tmp_path / "out", {})
        again, second = spread_conditions(subject, ThisProcess(), folder=folder, observer=Unheard())
    assert again.seconds == first.seconds  # nothing was computed again
    assert second.condition.correction == "global"
    assert len(second.predictions) == IMAGES


def test_worker_with_other_files_does_not_answer(tmp_path: Path) -> None:
    with open_subject(_request(tmp_path), Unheard()) as subject:
        identity = subject.whole_identity | {"images_sha256": "0" * 64}
        (condition, *_) = subject.plan.conditions
        task = SpanTask(
            request=subject.request, identity=identity, condition=condition, span=slice(0, 2)
        )
        assert str(task) == "none, fresh, images 0 to 1"
        with pytest.raises(ConfigError, match=r"a worker has another images sha256: .*, here 0000"):
            predict_span(task)


@pytest.mark.parametrize(
    ("option", "value"), [("--workers", "2"), ("--cluster", "tcp://127.0.0.1:1")]
)
def test_device_takes_no_workers(option: str, value: str, tmp_path: Path) -> None:
    ended = evaluate("--demo", "--backend", "device", "--device", small_chip(tmp_path), option,
                     value, "--out", tmp_path / "out")  # fmt: skip
    assert ended.exit_code == CONFIG
    assert f"{option}: a chip multiplies one vector after the other" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_workers_are_told_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.pt2").touch()
    found = {}
    for model in ("net.pt2", "resnet20"):
        network = NetworkChoice(model=model, weights=Path("w.th"), data=Path("images.npz"))
        chip = ChipChoice(run=Path("run"))
        found[model] = located(EvaluationRequest(network=network, chip=chip))
    assert found["net.pt2"].network.model == str(tmp_path / "net.pt2")
    assert found["resnet20"].network.model == "resnet20"
    assert found["resnet20"].network.weights == tmp_path / "w.th"
    assert found["resnet20"].chip.run == tmp_path / "run"
