"""A stage for each job."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from infra.demo.runs_table import MemoryRunsTable
from tests.arcade import Arcade
from tests.faults.scenes import SCENES, SMALL_BATCHES, Scene, keep

pytest.register_assert_rewrite("tests.faults.stage", "tests.faults.process")  # its assertions show what they compared

from tests.faults.stage import Stage, Undisturbed  # noqa: E402


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for module, name, size in SMALL_BATCHES:
        monkeypatch.setattr(module, name, size)
    return SCENES[request.param]


@pytest.fixture
def stage(scene: Scene, arcade: Arcade, engine: Engine, runs_table: MemoryRunsTable) -> Iterator[Stage]:
    scene.fill(arcade)
    keep(engine)
    stage = Stage(scene, engine, runs_table)
    yield stage
    stage.successor.close()


@pytest.fixture
def undisturbed(stage: Stage) -> Undisturbed:
    return stage.play_undisturbed()
