"""``python -m hil``: the command line, for whoever has the interpreter and not the script."""

from hil.cli import main

if __name__ == "__main__":
    main()
