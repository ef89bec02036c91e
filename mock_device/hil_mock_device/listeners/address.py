"""Where a network listener listens."""

import re
from dataclasses import dataclass, replace

from hil.core.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port."""

    host: str
    """Name or address; loopback unless somebody says otherwise."""
    port: int
    """Port, 0 for any free one."""

    @classmethod
    def parse(cls, text: str) -> "TcpAddress":
        """Read ``HOST:PORT``.

        Raises
        ------
        ConfigError
            If it is none.
        """
        host, _, port = text.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ConfigError(
                f"address {text!r}", [Problem("", "must be HOST:PORT, with a port of 0 to 65535")]
            )
        return cls(host.strip("[]"), int(port))

    def with_port(self, port: int) -> "TcpAddress":
        """Return the same host with the port that was really taken."""
        return replace(self, port=port)

    @property
    def resource(self) -> str:
        """The VISA resource string of a raw socket here."""
        return f"TCPIP0::{self._written_host}::{self.port}::SOCKET"

    @property
    def hislip_resource(self) -> str:
        """The VISA resource string of a HiSLIP instrument here."""
        return f"TCPIP0::{self._written_host}::hislip0,{self.port}::INSTR"

    @property
    def _written_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host
