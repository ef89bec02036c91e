"""Section ``[notify]`` of the campaign file: whom to tell how a run goes."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hil.core.legible import one_line, quoted

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_PLACEHOLDER = re.compile(r"\$\{ENV:([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2: token
_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|api-?key", re.IGNORECASE)

OneLine = Annotated[str, AfterValidator(one_line)]


class Occasion(StrEnum):
    """When to tell."""

    FINISH = "finish"
    """The run went to its end; some steps may have failed."""
    FAILURE = "failure"
    """The run did not go to its end, or some steps failed."""
    PAUSE = "pause"
    """A guard has paused the run."""


class NotifySection(BaseModel):
    """Whom to tell when a run finishes, fails or pauses."""

    model_config = _STRICT

    on: list[Occasion] = Field(default=list(Occasion), min_length=1)
    """When."""
    command: Annotated[list[OneLine], Field(min_length=1)] | None = None
    """Program and arguments, run without a shell; JSON comes on its standard input."""
    url: OneLine | None = None
    """Gets the same JSON by POST; ``${ENV:NAME}`` stands for a variable of the environment."""
    headers: dict[OneLine, OneLine] = Field(default_factory=dict)
    """Further headers of the POST; ``${ENV:NAME}`` as in `url`."""
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    """How long telling may take before it is given up."""

    @model_validator(mode="after")
    def _tells_somebody(self) -> Self:
        if self.command is None and self.url is None:
            raise ValueError("tells nobody: give a command or a url")
        if len(set(self.on)) != len(self.on):
            raise ValueError("on names an occasion twice")
        if self.command is not None and not self.command[0]:
            raise ValueError("command has no program")
        if self.headers and self.url is None:
            raise ValueError("headers are for a url, and there is none")
        if self.url is not None:
            _check_url(self.url)
        for name, value in self.headers.items():
            _check_header(name, value)
        return self

    def missing_variables(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the variables that are asked for and not set."""
        asked = {
            name
            for text in (self.url or "", *self.headers.values())
            for name in _PLACEHOLDER.findall(text)
        }
        return tuple(sorted(name for name in asked if not environment.get(name, "").strip()))

    def secrets(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return each placeholder that can be filled, with what it stands for.

        White space around a secret is left out: it comes from the file that the secret was in.
        """
        return {
            f"${{ENV:{name}}}": environment[name].strip()
            for text in (self.url or "", *self.headers.values())
            for name in _PLACEHOLDER.findall(text)
            if environment.get(name, "").strip()
        }


def _check_url(url: str) -> None:
    _check_placeholders(url)
    if " " in url or not url.isascii():
        raise ValueError("url must be without spaces and in ASCII")
    filled = _PLACEHOLDER.sub("x", url)
    try:
        parts = urlsplit(filled)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"url is none: {error}") from error
    # One that begins with a placeholder is looked at when it is known.
    is_known = _PLACEHOLDER.match(url) is None
    if is_known and (parts.scheme not in {"http", "https"} or not host):
        raise ValueError(f"url must be https://... or http://..., got {quoted(url)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url must not hold a user or a password: use headers with ${ENV:NAME}")


def _check_header(name: str, value: str) -> None:
    _check_placeholders(value)
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"headers: {quoted(name)} is no name of a header")
    if not value.isascii():
        raise ValueError(f"headers: {name} must be ASCII")
    if _SECRET_HEADER.search(name) and not _PLACEHOLDER.search(value):
        raise ValueError(
            f"headers: {name} is a secret, and this file is stored with every run: use "
            "${ENV:NAME}, which is taken from the environment"
        )


def _check_placeholders(text: str) -> None:
    rest = _PLACEHOLDER.sub("", text)
    if "${" in rest:
        raise ValueError(f"{quoted(text)}: the only placeholder is ${{ENV:NAME}}")
