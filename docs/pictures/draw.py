"""Draws ``quickstart.svg`` from a finished run: ``python docs/pictures/draw.py RUN``.

The font is the reader's own: the picture asks no server for anything.
"""

import inspect
import io
import re
import sys
from pathlib import Path

from rich.console import Console

from hil.report.summary import summarize_run
from hil.report.table import print_summary
from hil_datasets.run_directory import open_directory

_WIDTH = 80


def without_web_fonts(template: str) -> str:
    """Return rich's SVG template without its @font-face rules, which load from a server."""
    head, _, rest = template.partition("@font-face")
    *_, tail = rest.split("@font-face")
    return re.sub("<!--.*?-->", "", head + tail.partition("}}")[2])


def main() -> None:
    """Draw the tables of the run named on the command line."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("$ hil run examples/quickstart.toml", style="bold green")
    print_summary(summarize_run(open_directory(Path(sys.argv[1]))), console)
    template = inspect.signature(console.export_svg).parameters["code_format"].default
    svg = console.export_svg(title="hil", code_format=without_web_fonts(template))
    Path(__file__).with_name("quickstart.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
