"""The order of visits and of the steps in them, and what the campaign file may say of both."""

from pathlib import Path

import pytest

from hil.campaign.config.load import Campaign, load_campaign
from hil.campaign.estimate.duration import settle_at_least_s, settle_at_most_s
from hil.campaign.estimate.steps import outline_steps, programmings
from hil.campaign.plan import plan_campaign
from hil.campaign.visits import visits_of
from hil.core.errors import ConfigError
from hil.core.readout import ChipGeometry
from hil_datasets.step import StepKind

CHIP = ChipGeometry(cores=2, rows=8, columns=8, counter_bits=12, max_vectors=4096)
BENCH = """
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
lower = -20
upper = 85
ramp_per_s = 0.5
settle = { tolerance = 0.5, timeout_s = 100 }
[instruments.supply]
resource = "mock://supply"
[instruments.supply.quantities.voltage]
set = "VOLT {value}"
query = "MEAS:VOLT?"
lower = 0
upper = 0.4
settle = { tolerance = 0.1, timeout_s = 1 }
[instruments.supply.quantities.current]
query = "MEAS:CURR?"
"""
VOLTAGE = '[[sweep]]\nquantity = "supply.voltage"\nvalues = [0.2, 0.25]\n'
TEMPERATURE = '[[sweep]]\nquantity = "chamber.temperature"\nvalues = [25, 10, 40]\n'
AT_25 = '[steps.calibrate]\nat = { "chamber.temperature" = 25 }\n'
WATCH = '[steps.drift-watch]\nuntil = "1h"\nper_decade = 1\nerror_limit = 0.1\n'


def loaded(folder: Path, text: str, *, bench: str = BENCH) -> Campaign:
    path = folder / "campaign.toml"
    path.write_text(
        'schema_version = 1\n[campaign]\ntitle = "Visits"\ncores = [0, 1]\n'
        '[device]\nresource = "mock://quickstart"\n'
        f"[vectors]\ncalibration = 64\nverification = 32\n{bench}{text}"
    )
    return load_campaign(path, environment={})


def settings_of(campaign: Campaign) -> list[tuple[float, ...]]:
    return [tuple(visit.settings.values()) for visit in visits_of(campaign.config)]


def test_slow_quantity_is_outermost_and_the_inner_one_goes_back_and_forth(tmp_path: Path) -> None:
    campaign = loaded(tmp_path, VOLTAGE + TEMPERATURE)
    assert settings_of(campaign) == [
        (25, 0.2), (25, 0.25), (10, 0.25), (10, 0.2), (40, 0.2), (40, 0.25),
    ]  # fmt: skip


def test_quantities_of_which_nothing_is_known_keep_the_order_of_the_file(tmp_path: Path) -> None:
    bench = "\n".join(
        line for line in BENCH.splitlines() if not line.startswith(("settle", "ramp"))
    )
    campaign = loaded(tmp_path, VOLTAGE + TEMPERATURE, bench=bench + "\n")
    assert settings_of(campaign)[:4] == [(0.2, 25), (0.2, 10), (0.2, 40), (0.25, 40)]


def test_campaign_without_steps_calibrates_in_every_visit(tmp_path: Path) -> None:
    steps = plan_campaign(loaded(tmp_path, TEMPERATURE), CHIP)
    assert {step.key.kind for step in steps} == {StepKind.CALIBRATE}
    assert [step.key.visit for step in steps] == [0] * 4 + [1] * 4 + [2] * 4


def test_steps_follow_visits_then_cores_then_read_modes_then_kinds(tmp_path: Path) -> None:
    text = TEMPERATURE + AT_25 + "[steps.probe]\nvectors = 8\n[steps.program]\nvectors = 8\n"
    names = [step.key.name for step in plan_campaign(loaded(tmp_path, text), CHIP)]
    assert names[:10] == [
        "core00_one_phase_program", "core00_one_phase", "core00_one_phase_probe",
        "core00_four_phase", "core00_four_phase_probe",
        "core01_one_phase_program", "core01_one_phase", "core01_one_phase_probe",
        "core01_four_phase", "core01_four_phase_probe",
    ]  # fmt: skip
    assert names[10:14] == [
        "core00_one_phase_visit01_probe", "core00_four_phase_visit01_probe",
        "core01_one_phase_visit01_probe", "core01_four_phase_visit01_probe",
    ]  # fmt: skip


def test_watch_visits_ages_evenly_on_a_logarithmic_scale_and_its_end(tmp_path: Path) -> None:
    campaign = loaded(tmp_path, "[steps.calibrate]\n" + WATCH.replace("1\n", "2\n") + "vectors=8\n")
    ages = [visit.due_s for visit in visits_of(campaign.config)]
    assert ages == [None, 60.0, pytest.approx(189.7367), 600.0, pytest.approx(1897.367), 3600.0]
    watched = [step for step in plan_campaign(campaign, CHIP) if step.key.visit == 1]
    assert [step.key.kind for step in watched][:2] == [StepKind.PROBE, StepKind.CALIBRATE]
    assert [step.is_conditional for step in watched][:2] == [False, True]


def test_watch_keeps_the_last_settings_unless_it_has_its_own(tmp_path: Path) -> None:
    text = TEMPERATURE + "[steps.calibrate]\n" + WATCH + "vectors = 8\n"
    assert settings_of(loaded(tmp_path, text))[-1] == (40,)
    own = text + 'at = { "chamber.temperature" = 30 }\n'
    assert settings_of(loaded(tmp_path, own))[-1] == (30,)


def test_core_is_programmed_once_unless_a_program_step_says_again(tmp_path: Path) -> None:
    plain = outline_steps(loaded(tmp_path, TEMPERATURE), CHIP)[0]
    assert programmings(plain) == {0: 1, 1: 1}
    program = TEMPERATURE + "[steps.calibrate]\n[steps.program]\nvectors = 8\nattempts = 3\n"
    assert programmings(outline_steps(loaded(tmp_path, program), CHIP)[0]) == {0: 3, 1: 3}
    again = loaded(tmp_path, program + "every_visit = true\n")
    assert programmings(outline_steps(again, CHIP)[0]) == {0: 9, 1: 9}


def test_settling_counts_each_move_with_its_ramp(tmp_path: Path) -> None:
    campaign = loaded(tmp_path, VOLTAGE + TEMPERATURE)
    # The chamber settles three times and moves 15 and 30 degrees at 0.5 a second; the supply
    # settles at first and in visits 1, 3 and 5.
    expected = 3 * 100 + 15 / 0.5 + 30 / 0.5 + 4 * 1
    assert settle_at_most_s(campaign.config, visits_of(campaign.config)) == pytest.approx(expected)


def test_rest_before_each_step_is_certain_to_take_its_time(tmp_path: Path) -> None:
    bench = BENCH.replace("tolerance = 0.5,", "tolerance = 0.5, stable_s = 30,")
    campaign = loaded(tmp_path, TEMPERATURE, bench=bench)
    steps, visits = outline_steps(campaign, CHIP)[0], visits_of(campaign.config)
    assert len(steps) == 3 * 4
    # Two ramps; in each of three visits 30 s for the first step and a tenth of it for three more.
    expected = 15 / 0.5 + 30 / 0.5 + 3 * (30 + 3 * 3)
    assert settle_at_least_s(campaign.config, visits, steps) == pytest.approx(expected)


def test_characterisation_reads_its_vectors_in_turn(tmp_path: Path) -> None:
    text = "[steps.characterise]\nvectors = 4\nrepeats = 3\n"
    step = plan_campaign(loaded(tmp_path, text), CHIP)[0]
    inputs = step.work.inputs
    assert inputs.shape == (12, 8)
    assert (inputs[:4] == inputs[4:8]).all()
    assert (inputs[:4] == inputs[8:]).all()


def test_noise_of_a_step_goes_on_where_the_planned_readings_before_it_end(tmp_path: Path) -> None:
    text = "[steps.calibrate]\n[steps.probe]\nvectors = 8\n[steps.verify]\n"
    steps = plan_campaign(loaded(tmp_path, text), CHIP)[:3]
    assert [step.noise_place for step in steps] == [0, 96, 104]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEMPERATURE.replace("40", "90"), r"sweep\[0\].values\[2\]: is 90: must be within the li"),
        (TEMPERATURE.replace("erature", "eratur"), "did you mean 'chamber.temperature'"),
        (TEMPERATURE.replace("chamber.temperature", "supply.current"), "only read"),
        (TEMPERATURE.replace("chamber.temperature", "chamber"), "must be INSTRUMENT.QUANTITY"),
        (TEMPERATURE * 2, r"sweep\[1\].quantity: chamber.temperature is swept twice"),
        (TEMPERATURE + AT_25.replace("25", "26"), "which matches no visit: .* over 25, 10, 40"),
        (AT_25, "chamber.temperature is not swept"),
        ("[steps.probe]\nvectors = 8\n", r"steps.probe: .*add \[steps.calibrate\]"),
        (WATCH + "vectors = 8\n", r"steps.drift-watch: .*add \[steps.calibrate\]"),
        ("[steps.calibrate]\n[steps.probe]\n", "is 64: must be at most vectors.verification, 32"),
        ("[steps]\n", "names no step"),
        ("[steps.prob]\n", "steps.prob: unknown key; did you mean 'probe'"),
        ("[steps.drift_watch]\n", "did you mean 'drift-watch'"),
        ("[steps.calibrate]\n" + WATCH.replace("1h", "1m"), "'1m' is no duration"),
        ("[steps.calibrate]\n" + WATCH.replace("1h", "30s"), "must be first, 60s, or later"),
        (
            TEMPERATURE.replace("25, 10", "10, 25") + AT_25 + "[steps.verify]\n",
            "steps.verify: judges a correction in visit 0 .*list the values of steps.calibrate.at",
        ),
        (
            TEMPERATURE.replace("25, 10, 40", ", ".join(["25"] * 501)) + VOLTAGE,
            "makes 1002 visits: must be at most 1000",
        ),
    ],
)
def test_wrong_sweeps_and_steps_are_named_with_their_key(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, text)


def test_problem_of_a_sweep_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, TEMPERATURE.replace("40", "90"))
    lines = (tmp_path / "campaign.toml").read_text().splitlines()
    (problem,) = caught.value.problems
    assert problem.line is not None
    assert "90" in lines[problem.line - 1]
