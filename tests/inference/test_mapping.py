"""Layers on cores: every weight has one place, and what does not fit is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.errors import ConfigError
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.mapping import describe_mapping, map_layers, placements


def _layer(outputs: int, inputs: int, *, kernel: int = 1, groups: int = 1) -> AnalogLayer:
    weight = np.zeros((outputs, inputs // groups, kernel, kernel), dtype=np.float32)
    return AnalogLayer(name=f"c{outputs}", node="conv2d", weight=weight, groups=groups)


_layers = st.lists(
    st.builds(
        lambda outputs, inputs, kernel, groups: _layer(
            outputs * groups, inputs * groups, kernel=kernel, groups=groups
        ),
        st.integers(1, 40),
        st.integers(1, 12),
        st.integers(1, 3),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
)


@given(_layers, st.integers(1, 40), st.integers(1, 40))
def test_every_weight_has_exactly_one_place(
    layers: list[AnalogLayer], rows: int, columns: int
) -> None:
    tiles = map_layers(layers, rows=rows, columns=columns, cores=100_000)
    assert [tile.core for tile in tiles] == list(range(len(tiles)))
    for place, layer in enumerate(layers):
        for group in range(layer.groups):
            held = np.zeros((layer.rows, layer.columns), dtype=int)
            for tile in tiles:
                if (tile.layer, tile.group) == (place, group):
                    held[tile.rows, tile.columns] += 1
                    assert 1 <= tile.row_count <= rows
                    assert 1 <= tile.column_count <= columns
            assert (held == 1).all()


@pytest.mark.parametrize(
    ("inputs", "kernel", "parts"),
    [
        (16, 3, [(0, 144)]),
        (32, 3, [(0, 144), (144, 288)]),
        (64, 3, [(0, 192), (192, 384), (384, 576)]),
        (257, 1, [(0, 129), (129, 257)]),
        (256, 1, [(0, 256)]),
    ],
)
def test_rows_are_cut_into_as_few_even_parts_as_fit(
    inputs: int, kernel: int, parts: list[tuple[int, int]]
) -> None:
    tiles = map_layers([_layer(8, inputs, kernel=kernel)])
    assert [(tile.rows.start, tile.rows.stop) for tile in tiles] == parts


def test_only_the_cores_that_may_be_used_are() -> None:
    tiles = map_layers([_layer(8, 64, kernel=3)], cores=(2, 5, 11, 12))
    assert [tile.core for tile in tiles] == [2, 5, 11]


def test_too_few_cores_name_how_many_are_needed_and_for_what() -> None:
    layers = [_layer(8, 64, kernel=3), _layer(10, 64), _layer(600, 512)]
    with pytest.raises(ConfigError, match=r"needs 10 cores of 256 x 256, and there are 9") as error:
        map_layers(layers, cores=9)
    assert "layer c600: 6 cores, layer c8: 3 cores, layer c10: 1 core; " in str(error.value)
    assert "take a smaller network or a chip with more cores" in str(error.value)


def test_too_few_cores_name_the_three_largest_layers_and_count_the_others() -> None:
    layers = [_layer(8, 64), _layer(9, 64, kernel=3), _layer(10, 64), _layer(11, 64)]
    with pytest.raises(ConfigError) as error:
        map_layers(layers, cores=5)
    largest = "layer c9: 3 cores, layer c8: 1 core, layer c10: 1 core, 1 more layer; "
    assert largest in str(error.value)


def test_table_shows_each_layer_with_its_cores_and_their_use() -> None:
    layers = [_layer(16, 3, kernel=3), _layer(64, 64, kernel=3), _layer(4, 4, groups=2)]
    tiles = map_layers(layers)
    assert describe_mapping(layers, tiles).splitlines() == [
        "layer  matrix    groups  tiles  cores    in use",
        "c16    27 x 16   1       1 x 1  0        0.7%",
        "c64    576 x 64  1       3 x 1  1-3      18.8%",
        "c4     2 x 2     2       1 x 1  4-5      0.0%",
        "all                             6 cores  9.5%",
    ]
    assert placements(layers, tiles)[1].utilisation == 576 * 64 / (3 * 65536)
