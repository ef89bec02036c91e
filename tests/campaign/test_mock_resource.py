"""``mock://`` resources: what they say, and which are none."""

import pytest

from hil.campaign.mock_resource import MockResource


@pytest.mark.parametrize(
    ("resource", "profile", "seed", "truth"),
    [
        ("mock://quickstart", "quickstart", None, None),
        ("mock://chips/my.toml?seed=7", "chips/my.toml", 7, None),
        ("mock://quickstart?truth=a%20b.npz&seed=0", "quickstart", 0, "a b.npz"),
        ("mock://quickstart?seed=9223372036854775807", "quickstart", 2**63 - 1, None),
    ],
)
def test_resource_is_taken_apart(
    resource: str, profile: str, seed: int | None, truth: str | None
) -> None:
    assert MockResource.parse(resource) == MockResource(profile=profile, seed=seed, truth=truth)


def test_resource_may_say_how_fast_time_passes_on_the_bench() -> None:
    assert MockResource.parse("mock://quickstart?bench_speed=2.5").bench_speed == 2.5
    assert MockResource.parse("mock://quickstart").bench_speed is None


@pytest.mark.parametrize("speed", ["", "fast", "-1", "nan", "inf"])
def test_speed_of_the_bench_is_a_number(speed: str) -> None:
    with pytest.raises(ValueError, match="bench_speed must be a number, 0 or more"):
        MockResource.parse(f"mock://quickstart?bench_speed={speed}")


def test_time_passes_by_the_clock_unless_it_is_virtual() -> None:
    assert MockResource.parse("mock://quickstart?time=virtual").has_virtual_time
    assert not MockResource.parse("mock://quickstart").has_virtual_time


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("time=", "time must be virtual, or left out"),
        ("time=real", "time must be virtual, or left out"),
        ("time=virtual&bench_speed=300", "a virtual time has no bench_speed"),
        ("seed=1&seed=2", "gives an option twice"),
        ("truth=a&seed=1&truth=a", "gives an option twice"),
        ("seed=9223372036854775808", "must be a number, 0 to 2\\^63 - 1"),
        ("seed=" + "9" * 5000, "must be a number"),
        ("seed=", "seed '' must be a number"),
        ("seed=-1", "must be a number"),
        ("seed=1_0", "must be a number"),
        ("seed=\u00b2", "seed '\u00b2' must be a number"),
        ("seed=\u0663", "seed '\u0663' must be a number"),
        ("seed=%C2%B2", "seed '\u00b2' must be a number"),
        ("truth=", "truth must name a new file"),
        ("truth=a%00b", "must be without control characters"),
        ("truth", "truth must name a new file"),
    ],
    ids=[
        "no time",
        "real time",
        "two times",
        "seed twice",
        "truth twice",
        "2^63",
        "5000 digits",
        "empty",
        "negative",
        "underscore",
        "superscript",
        "arabic",
        "superscript in percents",
        "no truth",
        "nul",
        "bare truth",
    ],
)
def test_wrong_option_is_refused(options: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MockResource.parse(f"mock://quickstart?{options}")
