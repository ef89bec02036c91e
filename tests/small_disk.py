"""A disk of a few megabytes, that can be filled, grown, and made read-only."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs in a mount namespace of its own, which needs no rights of this process.

    Parameters
    ----------
    at
        An empty folder to mount it at, inside the namespace.
    mib
        Its size.
    """

    def __init__(self, at: Path, *, mib: int) -> None:
        self._at = at
        self._shell = subprocess.Popen(
            [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        refusal = self._tell(f"mount -t tmpfs -o size={mib}m none '{at}'")
        if refusal:
            self.close()
            pytest.skip(f"no namespace with a small disk of its own: {refusal}")
        self.folder = Path(f"/proc/{self._shell.pid}/root{at}")
        """Where this process sees it."""

    def fill(self) -> None:
        """Leave no room at all, in a file ``filler``."""
        with suppress_full(), (self.folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def give_room(self) -> None:
        """Delete what fills it."""
        (self.folder / "filler").unlink()

    def set_writable(self, *, is_writable: bool) -> None:
        """Mount it again, writable or read-only."""
        mode = "rw" if is_writable else "ro"
        refusal = self._tell(f"mount -o remount,{mode} '{self._at}'")
        assert not refusal, refusal

    def close(self) -> None:
        """Give it up, with what is on it."""
        self._shell.communicate(timeout=10)

    def _tell(self, command: str) -> str:
        """Run a command inside; return what it says where it fails."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        try:
            self._shell.stdin.write(f"{command} && echo || echo failed\n")
            self._shell.stdin.flush()
        except BrokenPipeError:
            return self._shell.stdout.read().strip()
        words = self._shell.stdout.readline()
        return words.strip()


@contextmanager
def suppress_full() -> Iterator[None]:
    """Let a write fail for want of room."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[SmallDisk]:
    """Give a small disk; skip the test where there can be none."""
    if shutil.which("unshare") is None or not Path("/proc/self/ns/mnt").exists():
        pytest.skip("no mount namespaces here")
    folder.mkdir()
    disk = SmallDisk(folder, mib=mib)
    try:
        yield disk
    finally:
        disk.close()
