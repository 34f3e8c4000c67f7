"""``python -m fastlin`` is the command ``fastlin``."""

from fastlin.cli import main

main()
