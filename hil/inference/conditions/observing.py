"""Who is told how an evaluation goes."""

from typing import Protocol


class EvaluationObserver(Protocol):
    """Who is told how an evaluation goes."""

    def on_words(self, words: str) -> None:
        """Hear what is good to know before the result: mapping, folding, notes."""
        ...

    def on_plan(self, *, images: int) -> None:
        """Hear how many images are to be predicted, all conditions together."""
        ...

    def on_stage(self, words: str) -> None:
        """Hear what begins now."""
        ...

    def on_images(self, images: int) -> None:
        """Hear that so many more images were predicted, or were known before."""
        ...


class Unheard:
    """An `EvaluationObserver` that nobody listens to."""

    def on_words(self, words: str) -> None:
        """Drop it."""

    def on_plan(self, *, images: int) -> None:
        """Drop it."""

    def on_stage(self, words: str) -> None:
        """Drop it."""

    def on_images(self, images: int) -> None:
        """Drop it."""
