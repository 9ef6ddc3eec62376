"""What ends the differences, as SQL for psql and nothing else."""

from collections.abc import Iterable, Iterator

from infra.schema.differences import Difference, Kind
from infra.schema.quoting import quoted


def script(schema: str, differences: Iterable[Difference]) -> Iterator[str]:
    """The statements in their order, each difference named in a comment. Nothing if there is nothing to do.

    Warnings are left out: to put back what was set aside, or to drop an index, is another decision.

    Args:
        schema: of the tables.
        differences: as `check` lists them.
    """
    to_do = [each for each in differences if each.kind is not Kind.WARNING and each.statements]
    if to_do:
        yield f"SET search_path = {quoted(schema)};"
    for each in to_do:
        named = " ".join(f"{each}".split())  # a name may hold the end of a comment
        yield f"-- {each.kind}: {named}"
        yield each.fix
