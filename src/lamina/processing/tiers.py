"""② The tiers of a batch: which collections it runs through, and in which order."""

from collections.abc import Collection as Some
from collections.abc import Sequence

from lamina.core.errors import BadRequestError, ValidationError
from lamina.processing.collections import Collection


def tiers_of_bucket(
    bucket_id: str, everything: Sequence[Collection], named: Some[str] | None = None
) -> list[list[Collection]]:
    """The collections that read a bucket, then those that read them; with `named`, only those.

    A named collection whose own sources are not named reads what they hold already. Raises
    `BadRequestError` when nothing reads the bucket, `ValidationError` for a named collection that
    has nothing to do with it.
    """
    chosen = [one for one in everything if one.enabled and (named is None or one.collection_id in named)]
    first = [one for one in chosen if bucket_id in (one.source.bucket_ids or ())]
    if named is not None:
        first += [one for one in chosen if _begins_at_documents(one, bucket_id, named)]
    if not first:
        raise BadRequestError(
            "No enabled collection reads this bucket: create one whose source is the bucket, then submit."
        )
    found = tiers(first, chosen)
    reached = {one.collection_id for tier in found for one in tier}
    lost = [one for one in chosen if named is not None and one.collection_id not in reached]
    if lost:
        raise ValidationError(
            f"Collection '{lost[0].collection_name}' does not read this bucket.", field="collection_ids"
        )
    return found


def _begins_at_documents(collection: Collection, bucket_id: str, named: Some[str]) -> bool:
    source = collection.source
    return bucket_id in (source.inherited_bucket_ids or ()) and not set(source.collections) & set(named)


def tiers(first: Sequence[Collection], everything: Sequence[Collection]) -> list[list[Collection]]:
    """The first tier, then collection by collection what reads an earlier tier; each once, at its deepest."""
    roots = {one.collection_id for one in first}
    depth = dict.fromkeys(roots, 0)
    by_id = {one.collection_id: one for one in (*everything, *first)}
    for _ in by_id:
        for one in everything:
            sources = [depth[source] for source in one.source.collections if source in depth]
            if sources and one.enabled and one.collection_id not in roots:
                depth[one.collection_id] = max(sources) + 1
    ordered: list[list[Collection]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for one in by_id.values():
        if one.collection_id in depth:
            ordered[depth[one.collection_id]].append(one)
    return ordered
