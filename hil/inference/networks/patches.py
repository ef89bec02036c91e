"""Input vectors of a layer: the patches of an image that a convolution multiplies."""

from typing import TYPE_CHECKING

from hil.inference.networks.layers import AnalogLayer

if TYPE_CHECKING:
    import torch


def output_shape(layer: AnalogLayer, input_codes: "torch.Tensor") -> tuple[int, ...]:
    """Return the shape of what a layer makes of its input, channels included.

    Shape (image, output, row, column) of a convolution, (image, ..., output) of a linear layer.
    """
    if not layer.is_convolution:
        return (*input_codes.shape[:-1], layer.outputs)
    size = (
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, padding, dilation, kernel, stride in zip(
            input_codes.shape[2:],
            layer.padding,
            layer.dilation,
            layer.weight.shape[2:],
            layer.stride,
            strict=True,
        )
    )
    return (input_codes.shape[0], layer.outputs, *size)


def vectors_per_image(layer: AnalogLayer, input_codes: "torch.Tensor") -> int:
    """Return how many input vectors an image gives."""
    shape = output_shape(layer, input_codes)
    lengths = shape[2:] if layer.is_convolution else shape[1:-1]
    vectors = 1
    for length in lengths:
        vectors *= length
    return vectors


def input_vectors(layer: AnalogLayer, input_codes: "torch.Tensor", group: int) -> "torch.Tensor":
    """Return the input vectors of a group, in the order of images, rows and columns of outputs.

    Parameters
    ----------
    layer
        The layer.
    input_codes
        Of any dtype: (image, channel, row, column), or (image, ..., input) if linear.
    group
        Which group.

    Returns
    -------
    Shape (vector, row), rows in the order of ``torch.nn.Unfold``: channel, kernel row, kernel
    column. Padding is 0.
    """
    if not layer.is_convolution:
        return input_codes.reshape(-1, layer.rows)
    from torch.nn.functional import pad  # noqa: PLC0415 - the extra `inference`

    channels = layer.weight.shape[1]
    part = input_codes[:, group * channels : (group + 1) * channels]
    (up, left), (kernel_rows, kernel_columns) = layer.padding, layer.weight.shape[2:]
    padded = pad(part, (left, left, up, up)).contiguous()
    images, _, out_rows, out_columns = output_shape(layer, input_codes)
    by_image, by_channel, by_row, by_column = padded.stride()
    patches = padded.as_strided(
        (images, out_rows, out_columns, channels, kernel_rows, kernel_columns),
        (
            by_image,
            by_row * layer.stride[0],
            by_column * layer.stride[1],
            by_channel,
            by_row * layer.dilation[0],
            by_column * layer.dilation[1],
        ),
    )
    return patches.reshape(-1, layer.rows)
