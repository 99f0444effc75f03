"""``python -m croc`` is the ``croc`` command."""

from croc.cli import main

main(prog_name="croc")
