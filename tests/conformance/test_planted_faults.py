"""Chips that break one promise each: the kit says which."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from conformance_bench import InProcessDriver, Wrapped, failed_claims, run_kit
from hil.core.errors import DeviceError, FrameError, LinkLostError, TransportError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.chip import Chip, CorrectedReadout
from hil_drivers.conformance.check import Result
from hil_drivers.conformance.link_checks import LINK_CHECKS

Inputs = npt.NDArray[np.int8]
Counts = npt.NDArray[np.uint16]

IDENTIFIES = "it says who it is, in four printable fields"
SAME = "it is the same chip on every connection"
SIZE = "it says how large it is"
WARM = "it has a temperature"
WEIGHTS = "a core takes weights of every value"
BLOCKS = "blocks of one vector up to the most it takes have their shape and type"
TOO_LARGE = "larger blocks, and empty ones, are refused"
PLACES = "vectors keep their places in a block"
MULTIPLIES = "counts follow inputs times weights, positive ones in P"
VALUES = "inputs of every value count as what they are"
LOOKALIKES = "data that look like something else stay data"
LATCHED = "latched counts are those just read"
CORES = "cores have weights of their own"
WIDTH = "counts stay within the counter's width"
REGISTERS = "NMPU settings are read back as written"
MODES = "read modes have NMPU settings of their own"
EXACT = "corrected outputs are made of the latched counts, bit for bit"
TOGETHER = "outputs and counts of one operation belong together"
RAW = "the NMPU leaves raw counts alone"
BAD_CORE = "a core that is not there is refused, with a number"
BAD_SHAPE = "arrays of the wrong shape are refused"
LOWEST = "the code -128 is refused"
UNFIT = "registers that the format does not hold are refused"
AFTER_REFUSAL = "it measures on after a refusal"
RESET = "a reset keeps the weights"
RECONNECT = "a new connection finds the weights"
SAFE = "it can be made safe in every state, and twice"
WHEN_SAFE = "it measures on request when safe"
CLOSE_TWICE = "closing twice is no error"
CLOSED = "a closed chip raises TransportError"
AGAIN = "it can be connected to again and again"
TELLS = "it tells whether a core still holds its weights"
LEFT_SAFE = "the chip is left safe"


class NoSerial(Wrapped):
    def identify(self) -> ChipIdentity:
        return replace(super().identify(), serial="")


class EscapeInModel(Wrapped):
    def identify(self) -> ChipIdentity:
        return replace(super().identify(), model="chip\x1b[2J")


class SerialCountsConnections(Wrapped):
    def __init__(self, inner: Chip, shared: dict[str, int]) -> None:
        super().__init__(inner, shared)
        self.serial = str(shared["connections"])

    def identify(self) -> ChipIdentity:
        return replace(super().identify(), serial=self.serial)


class CountersOf20Bits(Wrapped):
    def geometry(self) -> ChipGeometry:
        return replace(super().geometry(), counter_bits=20)


class TemperatureIsNan(Wrapped):
    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        return float("nan")


class TemperatureInKelvinTimesTen(Wrapped):
    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        return 10 * (super().temperature_c(core, read_mode) + 273.15)


class CountsAreSigned(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        return super().read_counts(core, read_mode, inputs).astype(np.int32)


class OddBlocksLoseTheLast(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        counts = super().read_counts(core, read_mode, inputs)
        is_odd = len(counts) > 1 and len(counts) % 2 == 1
        return counts[:-1] if is_odd else counts


class LargestBlockIsRefused(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        if len(inputs) == 4096:
            raise DeviceError(-222, "Data out of range")
        return super().read_counts(core, read_mode, inputs)


class TakesTooManyVectors(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        return super().read_counts(core, read_mode, inputs[:4096])


class SwapsTwoVectors(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        counts = super().read_counts(core, read_mode, inputs)
        if len(counts) == 64:
            counts = counts[[1, 0, *range(2, 64)]]
        return counts


class SwapsPolarities(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        return super().read_counts(core, read_mode, inputs)[:, ::-1]


class NewlinesBecomeReturns(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        changed = np.where(inputs == 10, np.int8(13), inputs)
        return super().read_counts(core, read_mode, changed)


class EighthBitIsLost(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        return super().read_counts(core, read_mode, inputs & np.int8(127))


class BlockHeaderInDataIsAnError(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        if b"#9999" in inputs.tobytes():
            raise FrameError("block too long")
        return super().read_counts(core, read_mode, inputs)


class CountsOverflow(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        counts = super().read_counts(core, read_mode, inputs)
        is_extreme = (np.abs(inputs.astype(int)) == 127).all()
        return counts + np.uint16(4096) if is_extreme else counts


class LatchedAreMeasuredAnew(Wrapped):
    last: Inputs

    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        self.last = inputs
        return super().read_counts(core, read_mode, inputs)

    def latched_counts(self, core: int, read_mode: ReadMode, vectors: int) -> Counts:
        if hasattr(self, "last") and len(self.last) == vectors:
            return super().read_counts(core, read_mode, self.last)
        return super().latched_counts(core, read_mode, vectors)

    def read_corrected(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Inputs:
        self.last = inputs[:0]
        return super().read_corrected(core, read_mode, inputs)


class OutputsAreOneTooHigh(Wrapped):
    def read_corrected(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Inputs:
        outputs = super().read_corrected(core, read_mode, inputs).astype(int)
        return (outputs + 1).clip(-128, 127).astype(np.int8)


class CorrectsOneMeasurementAndShowsAnother(Wrapped):
    def read_corrected_with_counts(
        self, core: int, read_mode: ReadMode, inputs: Inputs
    ) -> CorrectedReadout:
        both = super().read_corrected_with_counts(core, read_mode, inputs)
        return replace(both, counts=super().read_counts(core, read_mode, inputs))


class RegistersHaveSevenBits(Wrapped):
    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        fmt, registers = super().read_nmpu(core, read_mode)
        return fmt, replace(registers, scale_n=registers.scale_n & np.uint8(127))


class ModesShareRegisters(Wrapped):
    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        for each in ReadMode:
            super().write_nmpu(core, each, fmt, registers)


class RawCountsStayCorrected(Wrapped):
    is_correcting = False

    def read_corrected(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Inputs:
        self.is_correcting = True
        return super().read_corrected(core, read_mode, inputs)

    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        if self.is_correcting:
            self.is_correcting = False
            return super().read_corrected(core, read_mode, inputs)  # type: ignore[return-value]
        return super().read_counts(core, read_mode, inputs)


class ProgramsCore0Only(Wrapped):
    def program(self, core: int, weights: Inputs) -> None:
        super().program(core, weights)
        if core != 0:
            super().program(0, weights)


class MissingCoresAreTheLastOne(Wrapped):
    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        return super().temperature_c(min(core, 2), read_mode)


class RefusalsHaveNoNumber(Wrapped):
    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        try:
            return super().read_nmpu(core, read_mode)
        except DeviceError as error:
            raise DeviceError(0, error.words) from error


class RefusalsAreKeyErrors(Wrapped):
    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        if not 0 <= core < 3:
            raise KeyError(core)
        super().write_nmpu(core, read_mode, fmt, registers)


class CropsInputs(Wrapped):
    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        return super().read_counts(core, read_mode, inputs[:, :16])


class TurnsWeights(Wrapped):
    def program(self, core: int, weights: Inputs) -> None:
        super().program(core, weights.T if weights.shape == (8, 16) else weights)


class TakesMinus128(Wrapped):
    def program(self, core: int, weights: Inputs) -> None:
        super().program(core, np.maximum(weights, -127).astype(np.int8))


class CutsRegisters(Wrapped):
    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        cut = replace(registers, offset=registers.offset.clip(-128, 127).astype(np.int16))
        super().write_nmpu(core, read_mode, fmt, cut)


class ForgetsInputsAfterARefusal(Wrapped):
    was_refused = False

    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        was_refused, self.was_refused = self.was_refused, False
        try:
            return super().read_counts(core, read_mode, inputs * 0 if was_refused else inputs)
        except DeviceError:
            self.was_refused = True
            raise


class ResetForgetsWeights(Wrapped):
    def reset(self) -> None:
        super().reset()
        super().program(0, np.zeros((16, 8), np.int8))
        self.shared["forgotten"] = 1


class ConnectingForgetsWeights(Wrapped):
    def __init__(self, inner: Chip, shared: dict[str, int]) -> None:
        super().__init__(inner, shared)
        inner.program(0, np.zeros((16, 8), np.int8))


class SafeOnlyOnce(Wrapped):
    is_safe = False

    def safe(self) -> None:
        if self.is_safe:
            raise DeviceError(-221, "Settings conflict")
        self.is_safe = True


class SafeIsForgottenAfterReading(Wrapped):
    has_read = False

    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        self.has_read = True
        return super().read_counts(core, read_mode, inputs)

    def safe(self) -> None:
        if self.has_read:
            raise TransportError("the relay is stuck")


class SafeLocksForGood(Wrapped):
    is_safe = False

    def safe(self) -> None:
        self.is_safe = True

    def reset(self) -> None:
        self.is_safe = False
        super().reset()

    def read_counts(self, core: int, read_mode: ReadMode, inputs: Inputs) -> Counts:
        if self.is_safe:
            raise DeviceError(-221, "Settings conflict")
        return super().read_counts(core, read_mode, inputs)


class CloseTwiceRaises(Wrapped):
    is_closed = False

    def close(self) -> None:
        if self.is_closed:
            raise LinkLostError("closed already")
        self.is_closed = True
        super().close()


class AnswersWhenClosed(Wrapped):
    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        try:
            return super().temperature_c(core, read_mode)
        except TransportError:
            return 25.0


class ClosedIsAnAttributeError(Wrapped):
    def safe(self) -> None:
        try:
            super().safe()
        except TransportError:
            raise AttributeError("'NoneType' object has no attribute 'sendall'") from None


class RefusesSomeConnections(Wrapped):
    def __init__(self, inner: Chip, shared: dict[str, int]) -> None:
        super().__init__(inner, shared)
        if 12 <= shared["connections"] < 14:
            raise TransportError("no more connections")


FAULTS: dict[type[Wrapped], tuple[str, ...]] = {
    NoSerial: (IDENTIFIES,),
    EscapeInModel: (IDENTIFIES,),
    SerialCountsConnections: (SAME,),
    CountersOf20Bits: (SIZE,),
    TemperatureIsNan: (WARM, BAD_CORE, CLOSED),
    TemperatureInKelvinTimesTen: (WARM,),
    LargestBlockIsRefused: (BLOCKS,),
    TakesTooManyVectors: (TOO_LARGE,),
    SwapsTwoVectors: (PLACES,),
    SwapsPolarities: (MULTIPLIES, LATCHED),
    NewlinesBecomeReturns: (VALUES,),
    EighthBitIsLost: (MULTIPLIES, VALUES, CORES, LOWEST),
    BlockHeaderInDataIsAnError: (LOOKALIKES,),
    CountsOverflow: (WIDTH,),
    LatchedAreMeasuredAnew: (LATCHED,),
    OutputsAreOneTooHigh: (EXACT,),
    CorrectsOneMeasurementAndShowsAnother: (TOGETHER,),
    RegistersHaveSevenBits: (REGISTERS, MODES),
    ModesShareRegisters: (MODES,),
    ProgramsCore0Only: (CORES, TELLS),
    MissingCoresAreTheLastOne: (BAD_CORE,),
    RefusalsHaveNoNumber: (BAD_CORE,),
    RefusalsAreKeyErrors: (BAD_CORE,),
    CropsInputs: (BAD_SHAPE,),
    TurnsWeights: (BAD_SHAPE, AFTER_REFUSAL, TELLS),
    TakesMinus128: (LOWEST, TELLS),
    CutsRegisters: (UNFIT,),
    ForgetsInputsAfterARefusal: (AFTER_REFUSAL,),
    ResetForgetsWeights: (RESET, TELLS),
    ConnectingForgetsWeights: (RECONNECT, TELLS),
    SafeOnlyOnce: (SAFE, CLOSED),
    SafeIsForgottenAfterReading: (SAFE, LEFT_SAFE),
    SafeLocksForGood: (SAFE, WHEN_SAFE, CLOSED),
    CloseTwiceRaises: (CLOSE_TWICE,),
    AnswersWhenClosed: (CLOSED,),
    ClosedIsAnAttributeError: (CLOSED,),
}
"""Fault to the claims that fail: these, and no other."""

BROAD_FAULTS: dict[type[Wrapped], str] = {
    CountsAreSigned: BLOCKS,
    OddBlocksLoseTheLast: BLOCKS,
    RawCountsStayCorrected: RAW,
    RefusesSomeConnections: AGAIN,
}
"""Faults that break more than one promise, to the first claim that fails for it."""


def test_chip_without_a_fault_fails_nothing(tmp_path: Path) -> None:
    findings = run_kit(InProcessDriver(tmp_path), "loopback")
    assert failed_claims(findings) == {}
    assert [f.claim for f in findings if f.result is Result.SKIP] == [
        check.claim for check in LINK_CHECKS
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
def test_planted_fault_is_named(fault: type[Wrapped], tmp_path: Path) -> None:
    failed = failed_claims(run_kit(InProcessDriver(tmp_path, wrap=fault), "loopback"))
    assert tuple(failed) == FAULTS[fault]


@pytest.mark.parametrize("fault", BROAD_FAULTS, ids=lambda fault: str(fault.__name__))
def test_fault_that_breaks_much_is_named_first(fault: type[Wrapped], tmp_path: Path) -> None:
    failed = failed_claims(run_kit(InProcessDriver(tmp_path, wrap=fault), "loopback"))
    assert next(iter(failed)) == BROAD_FAULTS[fault]


class Hangs(Wrapped):
    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        threading.Event().wait(30)
        raise TransportError("too late")


def test_driver_that_hangs_ends_the_test_with_its_name(tmp_path: Path) -> None:
    start = time.monotonic()
    findings = run_kit(InProcessDriver(tmp_path, wrap=Hangs), "loopback", limit_s=1.5)
    assert time.monotonic() - start < 10
    assert failed_claims(findings) == {REGISTERS: "did not end within 1.5 s: the driver hangs"}
    after = [finding for finding in findings if "hangs in an earlier check" in finding.evidence]
    assert after[-1].claim == LEFT_SAFE


def test_evidence_says_what_was_seen_and_what_was_due(tmp_path: Path) -> None:
    driver = InProcessDriver(tmp_path, wrap=OutputsAreOneTooHigh)
    evidence = failed_claims(run_kit(driver, "loopback"))[EXACT]
    assert evidence.startswith("one_phase, shift 0, 1 vectors: ")
    assert "vector 0 column 0 is " in evidence
    assert evidence.endswith(" is due")
