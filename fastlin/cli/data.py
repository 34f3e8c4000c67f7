"""``fastlin data``: lists the data sets, shows their folder, and fetches one."""

from __future__ import annotations

import click

from fastlin.cli.output import print_facts, print_json, print_table

HELP = """\
List the data sets, fetch one, or show the folder they are kept in.

The folder is FASTLIN_DATA_DIR if that is set, otherwise the user's cache folder.
"""

EXAMPLES = """\b
Examples:
  fastlin data
  fastlin data fetch mnist
"""


@click.group("data", help=HELP, epilog=EXAMPLES, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the data sets if no command is given; see HELP."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_sets)


@command.command("list", help="List the data sets with their sizes, and tell which are here.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_sets(as_json: bool = False) -> None:
    """List the data sets with their sizes, and tell which are here."""
    from fastlin import datasets

    listings = datasets.available()
    if as_json:
        print_json({listing.name: vars(listing) for listing in listings})
        return
    header = ["name", "training", "validation", "features", "size", "here"]
    body = [
        [
            listing.name,
            str(listing.n_train),
            str(listing.n_val),
            str(listing.n_features),
            f"{listing.size / 1e6:.1f} MB",
            "yes" if listing.cached else "no",
        ]
        for listing in listings
    ]
    print_table([header, *body])


@command.command("fetch", help="Fetch the data set NAME, for later use without a network.")
@click.argument("name")
def fetch(name: str) -> None:
    """Fetch the data set NAME, for later use without a network."""
    from fastlin import datasets
    from fastlin.errors import InputError

    names = [listing.name for listing in datasets.available()]
    if name not in names:
        raise InputError(f"there is no data set '{name}' to fetch; choose {' or '.join(names)}")
    dataset = datasets.load(name, progress=True)
    listing = next(listing for listing in datasets.available() if listing.name == name)
    print_facts(
        [
            ("name", dataset.name),
            ("source", dataset.source),
            ("training", f"{len(dataset.y_train)} rows"),
            ("validation", f"{len(dataset.y_val)} rows"),
            ("folder", listing.where),
        ]
    )


@command.command("where", help="Print the folder of the data sets.")
def where() -> None:
    """Print the folder of the data sets."""
    from fastlin.datasets.mnist import data_folder

    click.echo(data_folder())
