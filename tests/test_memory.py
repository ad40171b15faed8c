import gc

from webapp.launcher.memory import without_garbage_collection


def test_what_was_built_is_not_looked_through_again() -> None:
    try:
        with without_garbage_collection():
            assert not gc.isenabled()
            kept = [object()]
            kept.append([kept])
        assert gc.isenabled()
        assert not any(one is kept for one in gc.get_objects())
    finally:
        gc.unfreeze()
