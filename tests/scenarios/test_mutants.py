"""The list of mutants fits the code: `make mutants` runs them."""

import re
from pathlib import Path

import pytest

from tests.scenarios.mutants.catalogue import Mutant, load_scenarios, misplaced

ROOT = Path(__file__).parents[2]
SCENARIOS = load_scenarios()
MUTANTS = [mutant for scenario in SCENARIOS for mutant in scenario.mutants]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.scenario} {mutant.guard}")
def test_a_guard_is_where_the_list_says_and_names_its_scenario(mutant: Mutant) -> None:
    assert [problem for edit in mutant.edits if (problem := misplaced(edit, ROOT))] == []
    assert any(re.search(rf"\b{mutant.scenario}\b", (ROOT / edit.file).read_text()) for edit in mutant.edits)


def test_every_test_that_is_named_is_there() -> None:
    named = {test for mutant in MUTANTS for test in (*mutant.tests, *mutant.unharmed)}
    named |= {row.test for scenario in SCENARIOS for row in scenario.evidence}
    for test in named:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(), test
