"""When numba is loaded, and that nobody needs it. Processes of their own: imports are for good."""

import subprocess
import sys
from typing import Any

import pytest

from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.numba_extra import LoadingChoice

CORE = """
import sys
import numpy as np
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat
from hil_calibration.quantize import quantize

def quantize_core(columns, vectors):
    rng = np.random.default_rng(1)
    a_p, a_n = rng.uniform(0.2, 0.4, (2, columns))
    correction = Correction(a_p=a_p, a_n=a_n, b=rng.uniform(-20, 20, columns))
    counts = rng.integers(0, 300, (vectors, 2, columns)).astype(np.uint16)
    expected = correction.apply(counts) + rng.normal(0, 1, (vectors, columns))
    found = quantize(correction, NmpuFormat(), is_calibrated=np.ones(columns, bool),
                     counts=counts, expected=expected, headroom=1.0)
    return found.registers.to_codes().tolist()
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CORE + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_kernels_does_not_import_numba() -> None:
    code = (
        "import hil_calibration.kernels.moments, hil_calibration.kernels.nmpu\n"
        "print('numba' in sys.modules)"
    )
    assert run(code) == "False"


def test_one_small_core_is_quantised_without_loading_numba() -> None:
    assert run("quantize_core(32, 100); print('numba' in sys.modules)") == "False"


def test_codes_are_the_same_without_numba() -> None:
    if not numba_extra.is_installed():
        pytest.skip("numba is not installed: pip install 'aimc-hil[fast]'")
    without = run("sys.modules['numba'] = None; print(quantize_core(24, 60))")
    assert without == run("import numba; print(quantize_core(24, 60))")


def test_a_kernel_without_numba_names_the_extra() -> None:
    code = """
sys.modules['numba'] = None
from hil_calibration.kernels.moments import sum_moments
try:
    sum_moments(np.zeros((4, 2, 16), np.uint16), np.zeros((4, 16), np.float32))
except ImportError as error:
    print(error)
"""
    assert run(code) == "the compiled kernels need numba: pip install 'aimc-hil[fast]'"


@pytest.fixture
def numba_at_hand(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_state(*, is_installed: bool, is_loaded: bool) -> None:
        monkeypatch.setattr(numba_extra, "is_installed", lambda: is_installed)
        monkeypatch.setattr(numba_extra, "is_loaded", lambda: is_loaded)

    return set_state


def test_numba_is_loaded_once_numpy_has_done_the_work_of_loading(numba_at_hand: Any) -> None:
    numba_at_hand(is_installed=True, is_loaded=False)
    choice = LoadingChoice(worth=100)
    assert [choice.wants_numba(work) for work in (60, 40, 1)] == [False, False, True]


def test_numba_that_is_loaded_is_used_for_the_smallest_work(numba_at_hand: Any) -> None:
    numba_at_hand(is_installed=True, is_loaded=True)
    assert LoadingChoice(worth=100).wants_numba(1)


def test_numba_that_is_not_installed_is_never_wanted(numba_at_hand: Any) -> None:
    numba_at_hand(is_installed=False, is_loaded=False)
    assert not LoadingChoice(worth=100).wants_numba(1000)
