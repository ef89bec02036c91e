"""What the section [notify] takes."""

import pytest

from hil.campaign.config.notify import NotifySection
from hil.core.errors import ConfigError
from hil.core.toml_file import parse_toml


def parse(text: str) -> NotifySection:
    return parse_toml(NotifySection, text.encode(), source="campaign.toml")


def test_command_alone_is_enough() -> None:
    section = parse('command = ["notify-send", "hil"]')
    assert [str(occasion) for occasion in section.on] == ["finish", "failure", "pause"]
    assert section.timeout_s == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tells nobody: give a command or a url"),
        ("command = []", "command: "),
        ('command = [""]', "has no program"),
        ('command = "true"', "command: "),
        ('command = ["true"]\non = []', "on: "),
        ('command = ["true"]\non = ["success"]', r"on\[0\]: "),
        ('command = ["true"]\non = ["pause", "pause"]', "names an occasion twice"),
        ('command = ["true"]\ntimeout_s = 0', "timeout_s: "),
        ('command = ["true"]\ntimeout_s = 301', "timeout_s: "),
        ('command = ["true"]\n[headers]\nA = "b"', "headers are for a url"),
        ('url = "ftp://host/x"', "must be https"),
        ('url = "https://"', "must be https"),
        ('url = "file:///etc/passwd"', "must be https"),
        ('url = "https://host:port/"', "url is none"),
        ('url = "https://a b/"', "without spaces"),
        ('url = "https://user:word@host/"', "must not hold a user or a password"),
        ('url = "https://host/${HOME}"', r"only placeholder is \$\{ENV:NAME\}"),
        ('url = "https://host/"\n[headers]\nAuthorization = "Bearer abc"', "is a secret"),
        ('url = "https://host/"\n[headers]\nX-Api-Key = "abc"', "is a secret"),
        ('url = "https://host/"\n[headers]\n"A B" = "c"', "no name of a header"),
        ('url = "https://host/"\n[headers]\nA = "${env:x}"', "only placeholder"),
    ],
)
def test_wrong_section_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        'url = "https://hooks.example.org/${ENV:HOOK}"',
        'url = "${ENV:HOOK_URL}"',
        'url = "http://127.0.0.1:8080/x"',
        'url = "https://host/"\n[headers]\nAuthorization = "Bearer ${ENV:TOKEN}"',
        'url = "https://host/"\n[headers]\nX-Bench = "seven"',
    ],
)
def test_right_section_is_taken(text: str) -> None:
    assert parse(text).url is not None


def test_variables_that_are_not_set_are_named() -> None:
    section = parse('url = "https://host/${ENV:B}/${ENV:A}"\n[headers]\nX = "${ENV:C}"')
    assert section.missing_variables({"A": "1", "C": ""}) == ("B", "C")
