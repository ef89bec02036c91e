"""The process that posts one notification: it can be ended however the server behaves.

What to post comes as JSON on its standard input, since arguments are for everybody to see::

    {"url": "https://...", "headers": {"Authorization": "..."}, "body": "{...}", "timeout_s": 10}
"""

import json
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: it would carry the headers, and what is secret in them, elsewhere."""


def post(url: str, headers: dict[str, str], body: str, timeout_s: float) -> str:
    """Post a text; return what went wrong, without a word of the URL or the headers, or nothing."""
    if not url.startswith(("http://", "https://")):
        return "the url is neither http:// nor https://"
    try:
        request = Request(  # noqa: S310 - checked just above
            url,
            data=body.encode(),
            headers={"Content-Type": "application/json", "User-Agent": "aimc-hil", **headers},
            method="POST",
        )
        with build_opener(_NoRedirect).open(request, timeout=timeout_s):
            return ""
    except HTTPError as error:
        error.close()
        return f"the server answered {error.code}"
    except OSError as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or type(reason).__name__)
    except Exception as error:  # noqa: BLE001 - most messages repeat what is secret
        return f"cannot be posted: {type(error).__name__}"


def main() -> None:
    """Post what the standard input says; say on stderr, and by exit code 1, that it failed."""
    wanted = json.load(sys.stdin)
    problem = post(wanted["url"], wanted["headers"], wanted["body"], wanted["timeout_s"])
    if problem:
        sys.exit(problem)


if __name__ == "__main__":
    main()
