from sqlalchemy import Engine, inspect


def test_a_test_gets_a_migrated_database(engine: Engine) -> None:
    assert "prize_pools" in inspect(engine).get_table_names()
