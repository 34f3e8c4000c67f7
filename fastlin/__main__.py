"""``python -m fastlin`` and the command ``fastlin``."""

from __future__ import annotations

from fastlin import interruption


def main() -> None:
    """Run the command line as a process of its own."""
    interruption.begin()
    from fastlin import cli

    try:
        cli.main()
    finally:
        interruption.begin()


if __name__ == "__main__":
    main()
