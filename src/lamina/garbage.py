"""When a process looks for cycles of objects that nothing else holds."""

import gc


def spare_collections() -> None:
    """Look for cycles seldom, and never among what starting has made: that stays until the end.

    Half a million objects of imports, routes and models would be walked over and over. Measured by
    `bench/search.py`: a tenth of a search's time, and pauses of 100 ms while many documents are read. A
    copy makes some dozens of objects for each point, and would have them walked over as often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
