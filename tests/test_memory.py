import gc

from webapp.memory import keep_for_good


def test_what_is_there_is_not_looked_through_again() -> None:
    kept = [object()]
    kept.append([kept])
    keep_for_good()
    try:
        assert not any(one is kept for one in gc.get_objects())
    finally:
        gc.unfreeze()
