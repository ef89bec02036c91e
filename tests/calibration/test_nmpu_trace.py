"""The trace against hand-worked codes, the fast model, the oracle, and its own widths."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.nmpu import apply_nmpu
from hil_calibration.nmpu_trace import NmpuTrace, count_saturation, trace_nmpu
from nmpu_oracle import OneColumn, columns_of, nmpu_formats, oracle_output


def counts(*values: int) -> npt.NDArray[np.uint16]:
    return np.array(values, np.uint16)[:, None]


def one_trace(p: int, n: int, codes: OneColumn, *, relu: bool = False, **fmt: Any) -> NmpuTrace:
    return trace_nmpu(counts(p), counts(n), codes.registers(), NmpuFormat(**fmt), relu=relu)


def codes_by_name(trace: NmpuTrace) -> dict[str, int]:
    return {stage.name: int(stage.codes[0, 0]) for stage in trace.stages}


def test_stages_are_the_worked_number_of_the_reference_page() -> None:
    assert codes_by_name(one_trace(100, 7, OneColumn(128, 64, -3))) == {
        "count_p": 100, "count_n": 7, "input_p": 100, "input_n": 7,
        "product_p": 12800, "product_n": 448, "difference": 12352, "cut": 12352,
        "rounded": 193, "compressed": 193, "with_offset": 190, "rounded_output": 95, "output": 95,
    }  # fmt: skip


def test_default_widths_are_those_of_the_specification() -> None:
    trace = one_trace(0, 0, OneColumn(0, 0, 0))
    widths = {stage.name: stage.width for stage in trace.stages}
    assert widths == {
        "count_p": "u16", "count_n": "u16", "input_p": "u10", "input_n": "u10",
        "product_p": "u18", "product_n": "u18", "difference": "s19", "cut": "s19",
        "rounded": "s13", "compressed": "s12", "with_offset": "s13", "rounded_output": "s12",
        "output": "s8",
    }  # fmt: skip


def test_branches_have_stages_of_their_own_when_they_merge_late() -> None:
    # Cut by 2: 544 >> 2 = 136, 31 >> 2 = 7; four bits rounded: 9 (8.5) and 0 (0.44)
    trace = one_trace(
        1, 1, OneColumn(32, 31, 8), merge="per_branch", offset_at="before_shift", cut_pre=2
    )
    assert codes_by_name(trace) == {
        "count_p": 1, "count_n": 1, "input_p": 1, "input_n": 1,
        "product_p": 32, "product_n": 31, "with_offset": 544,
        "cut_p": 136, "rounded_p": 9, "compressed_p": 9,
        "cut_n": 7, "rounded_n": 0, "compressed_n": 0,
        "difference": 9, "rounded_output": 5, "output": 5,
    }  # fmt: skip


def test_inputs_are_clipped_then_swapped() -> None:
    codes = codes_by_name(one_trace(4095, 7, OneColumn(1, 2, 0, swap=True)))
    assert (codes["count_p"], codes["input_p"], codes["input_n"]) == (4095, 7, 1023)
    assert (codes["product_p"], codes["product_n"]) == (7, 2046)


def test_relu_is_a_last_stage_of_its_own() -> None:
    trace = one_trace(0, 10, OneColumn(0, 128, 0), relu=True)
    assert [(stage.name, int(stage.codes[0, 0])) for stage in trace.stages[-2:]] == [
        ("output", -10),
        ("relu", 0),
    ]


def test_fraction_bits_turn_codes_into_output_lsb() -> None:
    trace = one_trace(100, 0, OneColumn(128, 0, 2), shift=2)
    values = {stage.name: stage.codes[0, 0] / 2**stage.frac_bits for stage in trace.stages}
    assert (values["product_p"], values["rounded"], values["with_offset"]) == (25.0, 25.0, 26.0)


def test_stages_that_lose_a_code_are_marked() -> None:
    trace = one_trace(2000, 0, OneColumn(255, 0, 0), acc_bits=10)
    marked = [stage.name for stage in trace.stages if stage.overflowed.any()]
    # 1023 * 255 / 64 = 4076 does not fit 10 bits (511); 256 does not fit the output.
    assert marked == ["input_p", "compressed", "output"]


def test_an_unknown_stage_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="'carry': the stages are count_p, count_n, input_p"):
        one_trace(0, 0, OneColumn(0, 0, 0))["carry"]


def test_text_form_is_a_table_per_column() -> None:
    registers = NmpuRegisters(
        scale_p=np.array([128, 0], np.uint8),
        scale_n=np.array([64, 0], np.uint8),
        offset=np.array([-3, 4], np.int16),
        swap=np.array([False, True]),
    )
    both = np.array([[100, 1], [4095, 1]], np.uint16)
    trace = trace_nmpu(both, both // 10, registers, NmpuFormat(), first_vector=512, first_column=30)
    lines = trace.to_text().splitlines()
    assert lines[0] == NmpuFormat().to_text()
    assert lines[2] == "column 30: scale_p=128 scale_n=64 offset=-3 swap=0"
    assert lines[3] == "stage           width  frac  vector 512   vector 513"
    assert lines[6] == "input_p           u10     0         100         1023*"
    assert lines[16] == "output             s8     0          94          127*"
    assert lines[18] == "column 31: scale_p=0 scale_n=0 offset=4 swap=1"
    assert lines[32] == "output             s8     0           2            2"


def test_json_form_has_every_code() -> None:
    trace = trace_nmpu(
        counts(100, 2000), counts(7, 0), OneColumn(128, 64, -3).registers(), NmpuFormat(shift=1)
    )
    content = json.loads(json.dumps(trace.to_dict()))
    assert content["nmpu"]["shift"] == 1
    assert content["vectors"] == [0, 1]
    column = content["columns"][0]
    assert column["registers"] == {"scale_p": 128, "scale_n": 64, "offset": -3, "swap": 0}
    assert column["stages"][2] == {
        "name": "input_p",
        "meaning": "input of branch P, behind the swap",
        "width": "u10",
        "frac_bits": 0,
        "codes": [100, 1023],
        "overflowed": [False, True],
    }
    assert column["stages"][-1]["codes"] == [47, 127]


@st.composite
def traced(draw: st.DrawFn) -> tuple[NmpuTrace, OneColumn, npt.NDArray[np.uint16], bool]:
    fmt = draw(nmpu_formats())
    codes, relu = draw(columns_of(fmt)), draw(st.booleans())
    one_count = st.one_of(
        st.integers(0, 2**fmt.in_bits - 1), st.sampled_from([0, 2**fmt.in_bits - 1, 65535])
    )
    pairs = draw(st.lists(st.tuples(one_count, one_count), min_size=1, max_size=8))
    readouts = np.array(pairs, np.uint16)
    trace = trace_nmpu(readouts[:, :1], readouts[:, 1:], codes.registers(), fmt, relu=relu)
    return trace, codes, readouts, relu


@settings(max_examples=300, deadline=None)
@given(drawn=traced())
def test_the_last_stage_is_the_output_in_every_format(
    drawn: tuple[NmpuTrace, OneColumn, npt.NDArray[np.uint16], bool],
) -> None:
    trace, codes, readouts, relu = drawn
    p_counts, n_counts = readouts[:, :1], readouts[:, 1:]
    outputs = apply_nmpu(p_counts, n_counts, codes.registers(), trace.fmt, relu=relu)
    assert trace.outputs.tolist() == outputs.tolist()
    oracle = [oracle_output(int(p), int(n), codes, trace.fmt, relu=relu) for p, n in readouts]
    assert trace.outputs[:, 0].tolist() == oracle


@settings(max_examples=300, deadline=None)
@given(drawn=traced())
def test_every_code_fits_the_width_of_its_stage(
    drawn: tuple[NmpuTrace, OneColumn, npt.NDArray[np.uint16], bool],
) -> None:
    for stage in drawn[0].stages:
        lowest = -(1 << (stage.bits - 1)) if stage.is_signed else 0
        highest = (1 << (stage.bits - stage.is_signed)) - 1
        assert lowest <= stage.lowest <= stage.codes.min(), stage.name
        assert stage.codes.max() <= stage.highest <= highest, stage.name
        assert stage.bits <= 32, stage.name


@pytest.mark.parametrize(
    ("fmt", "expected"),
    [
        # P: 1023, 1024, 4095, N: 0, 2000, 0; outputs 1023, 24, 1023 at a scale of 1
        ({}, {"input_p": [2], "input_n": [1], "compressed": [0], "output": [2]}),
        ({"in_bits": 12}, {"input_p": [0], "input_n": [0], "compressed": [1], "output": [3]}),
        ({"acc_bits": 9}, {"input_p": [2], "input_n": [1], "compressed": [2], "output": [2]}),
        (
            {"acc_bits": 9, "merge": "per_branch"},
            {"input_p": [2], "input_n": [1], "compressed": [4], "output": [2]},
        ),
    ],
    ids=["default", "wide-input", "narrow-accumulator", "each-branch-counts"],
)
def test_saturation_is_counted_at_every_stage(
    fmt: dict[str, Any], expected: dict[str, list[int]]
) -> None:
    registers = OneColumn(128, 128, 0).registers()
    found = count_saturation(
        counts(1023, 1024, 4095), counts(0, 2000, 0), registers, NmpuFormat(**fmt)
    )
    assert found.vectors == 3
    assert {name: getattr(found, name).tolist() for name in expected} == expected


def test_saturation_is_counted_per_column_behind_the_swap() -> None:
    registers = NmpuRegisters(
        scale_p=np.zeros(2, np.uint8),
        scale_n=np.zeros(2, np.uint8),
        offset=np.zeros(2, np.int16),
        swap=np.array([False, True]),
    )
    large = np.full((5000, 2), 1024, np.uint16)  # more than one block
    found = count_saturation(large, np.zeros_like(large), registers, NmpuFormat())
    assert found.input_p.tolist() == [5000, 0]
    assert found.input_n.tolist() == [0, 5000]
    assert found.output.tolist() == [0, 0]


def test_wrapped_codes_are_counted_too() -> None:
    fmt = NmpuFormat(saturate=False)
    found = count_saturation(counts(128, 127), counts(0, 0), OneColumn(128, 0, 0).registers(), fmt)
    assert found.output.tolist() == [1]


@pytest.mark.parametrize("function", [trace_nmpu, count_saturation])
def test_wrong_counts_and_codes_are_refused(function: Any) -> None:
    registers, empty = OneColumn(128, 64, -3).registers(), np.zeros((0, 2), np.uint16)
    with pytest.raises(ValueError, match="p_counts: must be uint16, got int64"):
        function(np.zeros((1, 1), np.int64), counts(0), registers, NmpuFormat())
    with pytest.raises(ValueError, match="counts have 2 columns, registers 1"):
        function(empty, empty, registers, NmpuFormat())
    with pytest.raises(ValueError, match="scale_p of column 0 is 128: must be 0 to 127"):
        function(counts(1), counts(1), registers, NmpuFormat(scale_int=0))


def beside_device(*outputs: int, relu: bool = False) -> NmpuTrace:
    """Trace 100 * 1.0 - 7 * 0.5 - 1.5 = 95 and 10 - 30 - 1.5 = -21.5, a tie that rounds up."""
    return trace_nmpu(
        counts(100, 10),
        counts(7, 60),
        OneColumn(128, 64, -3).registers(),
        NmpuFormat(),
        relu=relu,
        first_vector=5,
        device_outputs=np.array(outputs, np.int8)[:, None],
    )


@pytest.mark.parametrize(
    ("outputs", "differs", "line"),
    [
        ((95, -21), [False, False], "device             s8     0          95          -21"),
        ((95, -22), [False, True], "device             s8     0          95          -22!"),
        ((-22,), [False, True], "device             s8     0           -          -22!"),
        ((), [False, False], "device             s8     0           -            -"),
    ],
    ids=["equal", "differs", "last-only", "none"],
)
def test_outputs_of_a_device_are_marked_where_they_differ(
    outputs: tuple[int, ...], differs: list[bool], line: str
) -> None:
    trace = beside_device(*outputs)
    assert trace.differs[:, 0].tolist() == differs
    assert trace.to_text().splitlines()[-1] == line
    known: list[int | None] = list(outputs)
    codes = [None] * (2 - len(outputs)) + known
    assert trace.to_dict()["columns"][0]["device"] == {"codes": codes, "differs": differs}


def test_outputs_of_a_device_are_compared_before_relu() -> None:
    assert beside_device(95, -21, relu=True).outputs.tolist() == [[95], [0]]
    assert not beside_device(95, -21, relu=True).differs.any()
    assert beside_device(95, 0, relu=True).differs.tolist() == [[False], [True]]


def test_a_trace_without_a_device_has_no_line_for_it() -> None:
    trace = one_trace(100, 7, OneColumn(128, 64, -3))
    assert not trace.differs.any()
    assert "device" not in trace.to_text()
    assert "device" not in trace.to_dict()["columns"][0]


def test_more_outputs_of_a_device_than_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 2 vectors and exactly 1 columns, got \(3, 1\)"):
        beside_device(1, 2, 3)
