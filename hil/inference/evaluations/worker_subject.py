"""What a process keeps of the evaluation that it works for, from one task to the next."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module

from hil.core.errors import ConfigError, Problem
from hil.inference.conditions.aging_chip import AgingChip
from hil.inference.conditions.observing import Unheard
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.evaluations.request import EvaluationRequest
from hil.inference.evaluations.subject import Subject, open_subject
from hil.inference.findings.core_tables import CoreTables, core_tables
from hil.inference.libraries import load_torch
from hil.inference.placing.folding import describe_folding


class WorkerSubject:
    """An opened subject, and the chip that was programmed with it.

    Parameters
    ----------
    request
        What is evaluated; its files have absolute paths.
    identity
        What whoever asks has opened: a worker that sees something else must not answer.

    Raises
    ------
    ConfigError
        If files or software are not those of whoever asks.
    """

    def __init__(self, request: EvaluationRequest, identity: Mapping[str, str]) -> None:
        self.asked = request, identity
        self._open = ExitStack()
        with _LOADING:
            self.subject = self._open.enter_context(open_subject(request, Unheard()))
            _require_same(self.subject, identity)
            self.prepared = self.subject.prepare()
        self._chip: AgingChip | None = None
        self._calibrations: dict[float | None, CoreTables] = {}
        self._words = ""

    def chip(self, age_s: float) -> AgingChip:
        """Return a programmed and calibrated chip that is not older than so many seconds."""
        if self._chip is None or self._chip.age_s > age_s:
            subject = self.subject
            self._chip = AgingChip(
                subject.plan,
                self.prepared,
                subject.readings,
                subject.loaded.images,
                observer=Unheard(),
                on_calibrated=self._keep,
                stored=subject.stored,
            )
        return self._chip

    def take_calibrations(self) -> tuple[dict[float | None, CoreTables], str]:
        """Return calibrations made since the last time, by age, and words about folding."""
        found = self._calibrations, self._words
        self._calibrations, self._words = {}, ""
        return found

    def close(self) -> None:
        """Give back what was opened."""
        self._open.close()

    def _keep(self, cores: CalibratedCores, age_s: float | None) -> None:
        self._calibrations[age_s] = core_tables(cores)
        if age_s == self.subject.plan.first_calibration:
            self._words = describe_folding(cores.foldings)


_LOADING = threading.Lock()
"""Networks are traced by one thread at a time."""
_KEPT = threading.local()
"""A worker of a cluster may have several threads: each has a chip of its own."""


@contextmanager
def worker_subject(
    request: EvaluationRequest, identity: Mapping[str, str]
) -> Iterator[WorkerSubject]:
    """Open a subject, or take the one this thread has kept, and compute with one thread.

    Raises
    ------
    ConfigError
        If files or software are not those of whoever asks.
    """
    with _one_thread():
        kept: WorkerSubject | None = getattr(_KEPT, "subject", None)
        if kept is None or kept.asked != (request, identity):
            if kept is not None:
                _KEPT.subject = None
                kept.close()
            kept = _KEPT.subject = WorkerSubject(request, identity)
        yield kept


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let this process compute with one thread: there are as many processes as are wanted."""
    torch = load_torch()
    before = torch.get_num_threads()
    with ExitStack() as limits:
        try:
            library = import_module("threadpoolctl")  # comes with scikit-learn
        except ImportError:
            pass  # numpy may then take more
        else:
            limits.enter_context(library.threadpool_limits(1))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _require_same(subject: Subject, identity: Mapping[str, str]) -> None:
    found = subject.whole_identity
    for name in sorted(found.keys() | identity.keys()):
        # The path of a model may be another, its weights may not.
        if name != "model" and found.get(name) != identity.get(name):
            message = (
                f"a worker has another {name.replace('_', ' ')}: {found.get(name)}, here "
                f"{identity.get(name)}: all workers need the same files and software"
            )
            raise ConfigError("--cluster", [Problem("", message)])
