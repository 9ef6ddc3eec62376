"""The names that a stage can have."""

import re

STAGE_PATTERN = "[a-z][a-z0-9-]{0,15}"


def parse_stage(value: str) -> str:
    """The name of a stage.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(STAGE_PATTERN, value):
        raise ValueError(f"expected a small letter, then up to 15 small letters, digits and dashes, got {value!r}")
    return value
