"""Whether what a network says of an image depends on the other images in its batch.

Images are predicted in batches whose size is of no meaning, by the chip, by workers, and when an
evaluation is continued: a network that mixes them predicts something else each time.
"""

from typing import TYPE_CHECKING

from hil.core.errors import ConfigError, Problem
from hil.inference.networks.graph_walk import walk_graph

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

_IMAGES = 4
_DIFFERENCE = 1e-3
"""Largest difference of logits, as a share of the largest of them: sums in another order differ by
some 1e-6, a mean over another batch by the size of the logits."""


def require_independent_images(network: "Network", images: "torch.Tensor") -> None:
    """Refuse a network that mixes the images of a batch.

    Parameters
    ----------
    network
        The network.
    images
        Images as the network takes them; the first four are predicted together and alone. Of one
        image, nothing can be told.

    Raises
    ------
    ConfigError
        With the first image that comes out otherwise alone.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    taken = images[:_IMAGES]
    with torch.inference_mode():
        together = walk_graph(network.graph, taken)
        for number in range(len(taken)):
            try:
                alone = walk_graph(network.graph, taken[number : number + 1])
            except (RuntimeError, ValueError) as error:
                raise _refusal(network, f"image {number} alone is refused: {error}") from error
            difference = (alone[0] - together[number]).abs().max()
            if difference > _DIFFERENCE * together[number].abs().max():  # NaN is told elsewhere
                raise _refusal(
                    network,
                    f"image {number} alone and among {len(taken)} have logits that differ by "
                    f"{float(difference):.3g}",
                )


def _refusal(network: "Network", found: str) -> ConfigError:
    message = (
        f"what it says of an image depends on the others in its batch: {found}; put every "
        "normalisation into evaluation mode (track_running_stats=True, training=self.training), "
        "and take no mean over the first axis"
    )
    return ConfigError(network.source, [Problem("", message)])
