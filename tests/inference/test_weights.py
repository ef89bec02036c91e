"""Files of weights that hold no plain numbers: told before anything is computed with them."""

from pathlib import Path
from typing import Any

import pytest

from hil.core.errors import DatasetError
from hil.inference.networks.weights import read_weights

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (lambda: {"a": torch.zeros(2).to(torch.float8_e4m3fn)}, "a: is torch.float8_e4m3fn"),
        (lambda: {"a": torch.empty(2, device="meta")}, "a: has no values"),
        (lambda: {"a": torch.zeros(1).expand(300000, 300000)}, "a: .*repeats"),
        (lambda: {"a": torch.zeros(2, dtype=torch.complex64)}, "a: is torch.complex64"),
    ],
    ids=["float8", "meta", "bomb", "complex"],
)
def test_weights_that_are_no_plain_numbers_are_named(
    tmp_path: Path, weights: Any, reason: str
) -> None:
    torch.save(weights(), tmp_path / "weights.pth")
    with pytest.raises(DatasetError, match=reason):
        read_weights(tmp_path / "weights.pth")


def test_weights_that_hold_themselves_are_refused(tmp_path: Path) -> None:
    state: dict[str, Any] = {}
    state["state_dict"] = state
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(DatasetError, match="holds no weights"):
        read_weights(tmp_path / "weights.pth")
