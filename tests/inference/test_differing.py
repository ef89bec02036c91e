"""What tells one evaluation from another, in words."""

import pytest

from hil.inference.findings.differing import differing_words

HASH, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("there", "asked", "words"),
    [
        ({"seed": "0"}, {"seed": "0"}, ""),
        ({"seed": "0"}, {"seed": "1"}, "seed: 0 there, 1 asked"),
        ({"images": "100", "images_sha256": HASH}, {"images": "200", "images_sha256": OTHER},
         "images: 100 there, 200 asked"),
        ({"images": "100", "images_sha256": HASH}, {"images": "100", "images_sha256": OTHER},
         "other images to judge: 0123456789ab there, fedcba987654 asked"),
        ({}, {"coefficients_set_id": OTHER},
         "other set of coefficients: none there, fedcba987654 asked"),
        ({"weights_sha256": HASH, "read_mode": "one_phase", "calibration_images": "64"},
         {"weights_sha256": OTHER, "read_mode": "four_phase", "calibration_images": "32"},
         ("calibration images: 64 there, 32 asked; read mode: one_phase there, four_phase asked; "
          "other weights: 0123456789ab there, fedcba987654 asked")),
        ({"run": "last"}, {}, "run: last there, none asked"),
    ],
    ids=["nothing", "a setting", "number of images", "the images", "coefficients", "all", "a run"],
)  # fmt: skip
def test_settings_come_first_and_explain_their_hashes(
    there: dict[str, str], asked: dict[str, str], words: str
) -> None:
    assert differing_words(there, asked) == words
