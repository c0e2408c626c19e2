"""A copy from its first try to its end: what must hold before, its mark meanwhile, its proof after."""

from collections.abc import Callable, Mapping, Sequence

from lamina.stores.records.marks import Mark
from lamina.stores.records.sql import SqlRecordStore
from lamina.transfer.copying import Said, Stores, check_proof, copy
from lamina.transfer.preconditions import check_empty, check_unmarked
from lamina.transfer.progress import Progress

Keys = Callable[[], dict[str, str]]
"""Copies the files of keys; gives the digest of each."""


async def move(
    source: Stores,
    target: Stores,
    namespaces: Sequence[str],
    progress: Progress,
    said: Said,
    *,
    records: SqlRecordStore,
    stays: Mapping[str, str | None] | None = None,
    keys: Keys | None = None,
    expected: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Make a copy, or go on with one; how many rows, points and blobs there are.

    `records` bear the mark: those of the target, or where records do not move those that it will be served
    with; then `stays` tells where the stores lie that do (`Mark`). `expected` is what a source that is a
    backup was proven to hold. Raises `TransferError` where the target holds what is not known to be an
    earlier try's, and `DifferenceError` where the copy is not the same in the end.
    """
    found = await records.marked()
    anew = progress.left(found)
    if not anew:
        check_unmarked(found)
        await check_empty(target, namespaces)
        progress.forget()
    progress.write()
    await records.mark(Mark(progress.copy_id, progress.command, progress.target, stays))
    digests = keys() if keys is not None else {}  # before the stores: what is complete has its keys
    counts, proof = await copy(source, target, namespaces, progress, said, anew=anew)
    proof |= digests
    check_proof(proof, expected or {})
    progress.finish(counts, proof)
    await records.unmark()
    return counts


async def forget(records: SqlRecordStore, progress: Progress) -> None:
    """Take the mark of a copy off, if the records bear it: it is complete, or given up."""
    if progress.left(await records.marked()):
        await records.unmark()
