"""A layer that multiplies a matrix of weights: what of a network goes onto the chip."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil_calibration.fold import BatchNorm


@dataclass(frozen=True, kw_only=True)
class AnalogLayer:
    """A convolution or a linear layer, and what directly follows it."""

    name: str
    """Path of the module in the network, ``layer1.0.conv1``."""
    node: str
    """Name of the multiplication in the network's graph."""
    weight: npt.NDArray[np.float32]
    """Shape (output, input of the group, kernel row, kernel column); (output, input) if linear."""
    bias: npt.NDArray[np.float32] | None = None
    """Shape (output,); None without one."""
    stride: tuple[int, int] = (1, 1)
    """Steps of the kernel along rows and columns of the image."""
    padding: tuple[int, int] = (0, 0)
    """Zeros around the image, rows and columns."""
    dilation: tuple[int, int] = (1, 1)
    """Steps between the kernel's own rows and columns."""
    groups: int = 1
    """Groups of inputs and outputs that do not mix."""
    batch_norm: BatchNorm | None = None
    """Batch normalisation of its outputs, where nothing else uses them; arrays (output,)."""
    batch_norm_node: str | None = None
    """Its name in the graph."""
    relu_node: str | None = None
    """Name of the ReLU of its (normalised) outputs, where nothing else uses them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", read_only(self.weight))
        if self.bias is not None:
            object.__setattr__(self, "bias", read_only(self.bias))

    @property
    def is_convolution(self) -> bool:
        """Whether it multiplies patches of an image."""
        return self.weight.ndim == 4

    @property
    def outputs(self) -> int:
        """Number of outputs, all groups together."""
        return len(self.weight)

    @property
    def rows(self) -> int:
        """Inputs that an output of one group is a sum over: rows of the matrix on the chip."""
        return int(np.prod(self.weight.shape[1:]))

    @property
    def columns(self) -> int:
        """Outputs of one group: columns of the matrix on the chip."""
        return self.outputs // self.groups

    def matrix(self, group: int) -> npt.NDArray[np.float32]:
        """Return the weights of a group, shape (row, column), rows in the order of ``unfold``."""
        first = group * self.columns
        return read_only(self.weight[first : first + self.columns].reshape(self.columns, -1).T)
