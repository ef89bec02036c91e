import re
import subprocess
from pathlib import Path

import pytest

from command_line import HIL
from hil.campaign.config.load import load_campaign
from hil.campaign.new_campaign import Answers
from hil.core.readout import ReadMode


def init(folder: Path, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HIL), "init", *arguments],
        input=answers,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_defaults_make_a_file_that_runs(tmp_path: Path) -> None:
    ended = init(tmp_path, "--yes")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("campaign.toml written; next: ")
    small = ["--set", "campaign.cores=[0]", "--set", "vectors.calibration=32"]
    done = subprocess.run(
        [str(HIL), "run", "campaign.toml", "--out", "run", *small],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_everything_that_is_commented_out_may_be_taken_as_it_stands(tmp_path: Path) -> None:
    text = Answers().to_toml().replace('# workload = "layer.npz"', "# ")
    text = text.replace("# include =", "# ")
    taken = re.sub(r"(?m)^# (?=\[+[a-z]|[a-z_]+ = )", "", text)
    (tmp_path / "all.toml").write_text(taken)
    config = load_campaign(tmp_path / "all.toml", environment={}, chip="left").config
    assert config.sweep is not None
    assert config.sweep[0].values == [25.0, 40.0]
    assert config.steps is not None
    assert config.steps.drift_watch is not None
    assert config.guards is not None
    assert config.notify is not None
    assert config.device.resource == "TCPIP0::192.0.2.1::5025::SOCKET"


def test_answers_through_a_pipe_reach_the_file(tmp_path: Path) -> None:
    answers = 'TCPIP0::192.0.2.1::5025::SOCKET\nA "title" #1\nfour_phase\n0, 3\n\n'
    ended = init(tmp_path, "a.toml", answers=answers)
    assert ended.returncode == 0, ended.stderr
    config = load_campaign(tmp_path / "a.toml", environment={}).config
    assert config.device.resource == "TCPIP0::192.0.2.1::5025::SOCKET"
    assert config.campaign.title == 'A "title" #1'
    assert config.campaign.read_modes == [ReadMode.FOUR_PHASE]
    assert config.campaign.cores == [0, 3]
    assert config.campaign.out == "runs/{start}"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("COM3\n", "error: answer to 'Device': 'COM3' is no resource"),
        ("\n\nfourphase\n", "got 'fourphase'; did you mean 'four_phase'?"),
        ("\n\n\nnone\n", "error: answer to 'Cores': must be all, or as in 0, 1, 2"),
        ("\n\n\n0 0\n", "error: answer to 'Cores': names one twice: 0, 0"),
        ("\n\n", "error: answer to 'Read modes': no answer: the input has ended"),
    ],
    ids=["resource", "mode", "cores", "twice", "end"],
)
def test_wrong_answer_is_refused_at_once_and_nothing_written(
    answers: str, message: str, tmp_path: Path
) -> None:
    ended = init(tmp_path, answers=answers)
    assert ended.returncode == 3
    assert message in ended.stderr
    assert f"\n{message}" in f"\n{ended.stderr}" or "fourphase" in answers
    assert list(tmp_path.iterdir()) == []


def test_file_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text("mine")
    ended = init(tmp_path, "--yes")
    assert ended.returncode == 3
    assert "exists; use --force to replace it" in ended.stderr
    assert (tmp_path / "campaign.toml").read_text() == "mine"
    assert init(tmp_path, "--yes", "--force").returncode == 0
    assert (tmp_path / "campaign.toml").read_text().startswith("# A calibration campaign.")
