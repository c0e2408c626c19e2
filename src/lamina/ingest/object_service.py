"""① Objects are created under their bucket's rules, read, changed, and deleted with what they became."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import orjson

from lamina.core.errors import (
    AlreadyExistsError,
    BadRequestError,
    LaminaError,
    NotFoundError,
    ValidationError,
)
from lamina.core.filters import ALL, Filter, equals
from lamina.core.ids import new_id
from lamina.core.models import now
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.statuses import Status
from lamina.core.types import Json, JsonObject
from lamina.ingest.blobs import Blob, BlobKeeper
from lamina.ingest.buckets import Bucket, BucketService
from lamina.ingest.objects import (
    RESERVED,
    BlobCreate,
    Derived,
    FailedObject,
    KeptObject,
    ObjectCreate,
    ObjectList,
    ObjectPatch,
    ObjectsCreate,
    ObjectsCreated,
    ObjectUpdate,
    SourceDetails,
    StoredObject,
)
from lamina.ingest.schema import check_fields, with_defaults
from lamina.stores.records.base import RecordStore, Repository


class ObjectService:
    """Creates, reads, changes and deletes objects."""

    def __init__(
        self,
        records: RecordStore,
        objects: Repository[StoredObject],
        buckets: BucketService,
        blobs: BlobKeeper,
        derived: Derived,
    ) -> None:
        self.records = records
        self.objects = objects
        self.buckets = buckets
        self.blobs = blobs
        self.derived = derived

    async def create(
        self, scope: Scope, bucket: Bucket, asked: ObjectCreate, *, policy: str | None = None
    ) -> StoredObject:
        """A new object, or the one that its unique or idempotency key, or its content, already names."""
        try:
            return await self._create(scope.within(bucket.bucket_id), bucket, asked, policy)
        except _OvertakenError:  # another request was quicker; what it stored is found now
            return await self._create(scope.within(bucket.bucket_id), bucket, asked, policy)

    async def _create(
        self, scope: Scope, bucket: Bucket, asked: ObjectCreate, policy: str | None
    ) -> StoredObject:
        _open(bucket)
        if asked.idempotency_key is not None:
            before = await self.objects.first(scope, equals("idempotency_key", asked.idempotency_key))
            if before is not None:
                return before
        existing = await self._by_unique_key(scope, bucket, asked, policy)
        made = await self._make(scope, bucket, asked, existing)
        try:
            async with self.records.transaction(scope):
                _open(await self.buckets.get(scope, bucket.bucket_id))
                duplicate = await self._duplicate(scope, made) if asked.skip_duplicates else None
                if duplicate is None and existing is None:
                    with _overtaken():
                        await self.objects.add(scope, made)
                elif duplicate is None:
                    existing = await self.objects.find(scope, made.object_id)  # as it is by now
                    if existing is None:
                        raise _OvertakenError("The object was deleted meanwhile.")
                    await self.objects.update(scope, made)
        except BaseException:
            await asyncio.shield(self.blobs.forget(made.blobs))
            raise
        if duplicate is not None:
            await self.blobs.forget(made.blobs)
            return duplicate.model_copy(update={"skip_duplicates": True})
        if existing is not None:
            await self.blobs.forget(existing.blobs)
        return made

    async def create_all(self, scope: Scope, bucket: Bucket, asked: ObjectsCreate) -> list[StoredObject]:
        """All objects, or none: the published page's form of `objects/batch`."""
        self._check_batch(bucket)
        scope = scope.within(bucket.bucket_id)
        for number, one in enumerate(asked.objects):
            with _located(f"objects.{number}"):
                self.check(bucket, one)
        made: list[StoredObject] = []
        try:
            for number, one in enumerate(asked.objects):
                with _located(f"objects.{number}"):
                    made.append(await self._make(scope, bucket, one, None))
        except BaseException:
            await self._undo(made)
            raise
        return await self._keep(scope, asked.objects, made)

    async def _undo(self, made: Sequence[StoredObject]) -> None:
        """Remove the blobs of objects that were not stored after all."""
        await asyncio.shield(self.blobs.forget([blob for one in made for blob in one.blobs]))

    async def create_each(self, scope: Scope, bucket: Bucket, asked: ObjectsCreate) -> ObjectsCreated:
        """As many objects as are good: the official SDK's form of `objects/batch`."""
        self._check_batch(bucket)
        scope = scope.within(bucket.bucket_id)
        good: dict[int, ObjectCreate] = {}
        made: list[StoredObject] = []
        failed: list[FailedObject] = []
        unread = asked.unread
        for number, one in enumerate(asked.objects):
            if number in unread:
                problem = unread[number].problems[0]
                said = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
                failed.append(FailedObject(object_index=number, error=said, error_type="ValidationError"))
                continue
            try:
                self.check(bucket, one)
                made.append(await self._make(scope, bucket, one, None))
                good[number] = one
            except LaminaError as error:
                failed.append(FailedObject(object_index=number, error=error.message, error_type=error.type))
        stored = await self._keep(scope, list(good.values()), made)
        kept = [
            KeptObject(object_index=number, stored=one, replayed_by=_replayed_by(wish, new, one))
            for (number, wish), new, one in zip(good.items(), made, stored, strict=True)
        ]
        return ObjectsCreated(
            succeeded=kept,
            failed=failed,
            total_requested=len(asked.objects),
            succeeded_count=len(kept),
            failed_count=len(failed),
        )

    async def _keep(
        self, scope: Scope, asked: Sequence[ObjectCreate], made: Sequence[StoredObject]
    ) -> list[StoredObject]:
        """Store new objects at once; one that is already there, by its key or content, stands for itself."""
        if not made:
            return []
        kept: list[StoredObject] = []
        fresh: dict[str, StoredObject] = {}
        try:
            async with self.records.transaction(scope):
                _open(await self.buckets.get(scope, made[0].bucket_id))
                for wish, one in zip(asked, made, strict=True):
                    known_by, same = await self._same(scope, wish, one, fresh)
                    if same is None:
                        fresh[known_by] = one
                    kept.append(same or one)
                await self.objects.add(scope, *fresh.values())
        except BaseException:
            await self._undo(made)
            raise
        stored = {one.object_id for one in fresh.values()}
        await self._undo([one for one in made if one.object_id not in stored])
        return kept

    async def _same(
        self, scope: Scope, wish: ObjectCreate, one: StoredObject, fresh: Mapping[str, StoredObject]
    ) -> tuple[str, StoredObject | None]:
        """What a new object is recognised by, and the object, stored or to be, that it repeats."""
        if wish.idempotency_key is not None:
            key, where = wish.idempotency_key, equals("idempotency_key", wish.idempotency_key)
        elif wish.skip_duplicates and one.content_hash is not None:
            key, where = one.content_hash, equals("content_hash", one.content_hash)
        else:
            return one.object_id, None
        same = fresh.get(key) or await self.objects.first(scope, where)
        return key, same and same.model_copy(update={"skip_duplicates": wish.skip_duplicates})

    def check(self, bucket: Bucket, asked: ObjectCreate) -> None:
        """`ValidationError` unless the object fits the bucket's schema; nothing is stored yet."""
        properties = bucket.bucket_schema.properties
        if "auto_process" in asked.fields and "auto_process" not in properties:
            raise ValidationError(
                "Pass auto_process as ?auto_process=true, not in the body.", field="auto_process"
            )
        taken = RESERVED & set(asked.fields)
        if taken:
            raise ValidationError(f"'{min(taken)}' is set by the system.", field=min(taken))
        for number, blob in enumerate(asked.blobs):
            here = f"blobs.{number}"
            if (blob.data is None) == (blob.upload_id is None):
                raise ValidationError("Give exactly one of data and upload_id.", field=f"{here}.data")
            field = properties.get(blob.property)
            if field is None:
                known = ", ".join(sorted(properties)) or "none"
                raise ValidationError(
                    f"The bucket's schema has no property '{blob.property}'; it has {known}.",
                    field=f"{here}.property",
                )
            if not field.type.accepts(blob.type):
                raise ValidationError(
                    f"Property '{blob.property}' is of type {field.type.value}, not {blob.type.value}.",
                    field=f"{here}.type",
                )
            if field.enum and blob.data is not None and blob.data not in field.enum:
                raise ValidationError(
                    f"'{blob.property}' must be one of {', '.join(map(repr, field.enum))}.",
                    field=f"{here}.data",
                )
        present = frozenset(blob.property for blob in asked.blobs)
        check_fields(asked.fields, properties, present=present)

    async def _make(
        self, scope: Scope, bucket: Bucket, asked: ObjectCreate, existing: StoredObject | None
    ) -> StoredObject:
        """The object with its blobs stored, itself not yet."""
        self.check(bucket, asked)
        present = frozenset(blob.property for blob in asked.blobs)
        object_id = existing.object_id if existing else new_id("obj")
        blobs = await self.blobs.keep(
            scope, bucket.bucket_id, object_id, asked.blobs, asked.canonicalize_source
        )
        fields = with_defaults(asked.fields, bucket.bucket_schema.properties, present)
        made = StoredObject(
            object_id=object_id,
            bucket_id=bucket.bucket_id,
            key_prefix=asked.key_prefix,
            blobs=blobs,
            source_details=[SourceDetails(type="bucket", source_id=bucket.bucket_id)],
            edges=asked.edges,
            skip_duplicates=asked.skip_duplicates,
            idempotency_key=asked.idempotency_key,
            unique_value=_unique_value(bucket, fields, asked.blobs),
            content_hash=_content_hash(blobs, fields),
            size_bytes=sum(blob.details.size_bytes or 0 for blob in blobs),
            **cast("dict[str, object]", fields),
        )
        if existing is not None:
            made.created_at = existing.created_at
        return made

    async def _by_unique_key(
        self, scope: Scope, bucket: Bucket, asked: ObjectCreate, policy: str | None
    ) -> StoredObject | None:
        """The object that this one is to take the place of; refuses what the policy does not allow."""
        if bucket.unique_key is None:
            return None
        chosen = policy or bucket.unique_key.default_policy
        if chosen is None:
            raise BadRequestError(
                "The bucket has a unique_key without default_policy: pass ?policy=insert, update or upsert."
            )
        if chosen not in ("insert", "update", "upsert"):
            raise ValidationError("policy must be insert, update or upsert.", field="policy")
        value = _unique_value(bucket, asked.fields, asked.blobs)
        if value is None:
            names = ", ".join(bucket.unique_key.fields)
            raise ValidationError(f"The bucket's unique_key needs {names}.", field="unique_key")
        existing = await self.objects.first(scope, equals("unique_value", value))
        if existing is not None and chosen == "insert":
            raise AlreadyExistsError(
                f"An object with this unique key exists: {existing.object_id}.", id=existing.object_id
            )
        if existing is None and chosen == "update":
            raise NotFoundError("object", value)
        return existing

    async def _duplicate(self, scope: Scope, made: StoredObject) -> StoredObject | None:
        return await self.objects.first(scope, equals("content_hash", made.content_hash))

    def _check_batch(self, bucket: Bucket) -> None:
        _open(bucket)
        if bucket.unique_key is not None:
            raise ValidationError(
                "A bucket with a unique_key takes objects one by one: POST /v1/buckets/{id}/objects.",
                field="objects",
            )

    async def get(self, scope: Scope, bucket: Bucket, object_id: str) -> StoredObject:
        """An object by id."""
        return await self.objects.get(scope.within(bucket.bucket_id), object_id)

    async def inline(self, key: str) -> bytes:
        """The bytes behind the key of a blob that its record holds; `NotFoundError` when there is none."""
        _, bucket_id, object_id, blob_id, *_ = [*key.split("/"), "", "", "", ""]
        stored = await self.objects.find(EVERYWHERE, object_id)
        for blob in stored.blobs if stored and stored.bucket_id == bucket_id else ():
            if blob.blob_id == blob_id and blob.url is None:
                return blob.content
        raise NotFoundError("blob", key)

    async def list_page(
        self, scope: Scope, bucket: Bucket, page: PageRequest, asked: ObjectList, where: Filter = ALL
    ) -> Slice[StoredObject]:
        """Objects of a bucket, oldest first unless asked otherwise."""
        return await self.objects.list_page(
            scope.within(bucket.bucket_id), page, where=where, sort=asked.sort, search=asked.search
        )

    async def patch(self, scope: Scope, bucket: Bucket, object_id: str, asked: ObjectPatch) -> StoredObject:
        """Set custom fields; they are checked against the schema."""
        fields = asked.model_extra or {}
        taken = (RESERVED | {"metadata"} - set(bucket.bucket_schema.properties)) & set(fields)
        if taken:
            raise ValidationError(f"'{min(taken)}' cannot be set here.", field=min(taken))
        return await self._change(scope, bucket, object_id, asked.key_prefix, asked.skip_duplicates, fields)

    async def update(self, scope: Scope, bucket: Bucket, object_id: str, asked: ObjectUpdate) -> StoredObject:
        """Set the keys of `metadata` where the object holds them."""
        stored = await self.get(scope, bucket, object_id)
        held = stored.fields.get("metadata")
        inside = dict(held) if isinstance(held, Mapping) else {}
        fields: JsonObject = {}
        for name, value in (asked.metadata or {}).items():
            if name in RESERVED:
                raise ValidationError(f"'{name}' cannot be set here.", field=f"metadata.{name}")
            (inside if name in inside else fields)[name] = value
        if inside:
            fields["metadata"] = inside
        return await self._change(scope, bucket, object_id, asked.key_prefix, asked.skip_duplicates, fields)

    async def _change(
        self,
        scope: Scope,
        bucket: Bucket,
        object_id: str,
        key_prefix: str | None,
        skip_duplicates: bool | None,
        fields: JsonObject,
    ) -> StoredObject:
        properties = bucket.bucket_schema.properties
        check_fields(fields, {name: properties[name] for name in fields if name in properties})

        def change(stored: StoredObject) -> StoredObject:
            merged = {**stored.fields, **fields}
            changed: dict[str, object] = {**merged, "updated_at": now()}
            if key_prefix is not None:
                changed["key_prefix"] = key_prefix
            if skip_duplicates is not None:
                changed["skip_duplicates"] = skip_duplicates
            changed["content_hash"] = _content_hash(stored.blobs, merged)
            changed["unique_value"] = _unique_value(bucket, merged, stored.blobs) or stored.unique_value
            return StoredObject.model_validate({**stored.model_dump(), **changed})

        return await self.objects.change(scope.within(bucket.bucket_id), object_id, change)

    async def delete(self, scope: Scope, bucket: Bucket, object_id: str) -> None:
        """Remove an object, its documents and its blobs; the record goes last, so that a retry can finish."""
        stored = await self.get(scope, bucket, object_id)
        async with self.derived.alone(scope.of_namespace(), [stored.object_id]):
            await self.derived.remove(scope.of_namespace(), [stored.object_id])
            await self.blobs.remove(scope, bucket.bucket_id, stored.object_id)
            await self.objects.delete(scope.within(bucket.bucket_id), stored.object_id)

    async def statistics(self, scope: Scope, bucket: Bucket) -> JsonObject:
        """`ObjectListStats` of the contract."""
        by_status = await self.objects.count_by(scope.within(bucket.bucket_id), "status")
        return {"total_objects": sum(by_status.values()), "objects_by_status": dict(by_status)}

    async def counts(self, scope: Scope) -> JsonObject:
        """`object_count`, `failed_object_count` and `total_size_bytes` of the scope's bucket."""
        by_status = await self.objects.count_by(scope, "status")
        return {
            "object_count": sum(by_status.values()),
            "failed_object_count": by_status.get(Status.FAILED.value, 0),
            "total_size_bytes": int(await self.objects.sum(scope, "size_bytes")),
        }


class _OvertakenError(AlreadyExistsError):
    """What was found under a key is not what is there when the object is stored."""


@contextmanager
def _overtaken() -> Iterator[None]:
    try:
        yield
    except AlreadyExistsError as error:
        raise _OvertakenError(error.message, code=error.code, **error.details) from error


class _located:
    """Put the place of a part in front of the field that an error names."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValidationError):
            places = error.details.get("validation_errors")
            for one in places if isinstance(places, list) else ():
                _, *rest = one["location"]
                place = [int(step) if step.isdigit() else step for step in self.place.split(".")]
                one["location"] = ["body", *place, *rest]


def _replayed_by(
    wish: ObjectCreate, made: StoredObject, stored: StoredObject
) -> Literal["idempotency_key", "skip_duplicates"] | None:
    """What an object was recognised by; None for one that is new."""
    if stored.object_id == made.object_id:
        return None
    return "skip_duplicates" if wish.idempotency_key is None else "idempotency_key"


def _open(bucket: Bucket) -> None:
    if bucket.is_locked:
        raise AlreadyExistsError(f"Bucket '{bucket.bucket_name}' is being deleted.")


def _unique_value(
    bucket: Bucket, fields: Mapping[str, Json], blobs: Sequence[BlobCreate] | Sequence[Blob]
) -> str | None:
    """The unique key's values as one string; None when one is missing."""
    if bucket.unique_key is None:
        return None
    values: list[Json] = []
    for path in bucket.unique_key.fields:
        value: Json = fields
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            value = next((_blob_data(blob) for blob in blobs if blob.property == path), None)
        if value is None:
            return None
        values.append(value)
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


def _blob_data(blob: BlobCreate | Blob) -> Json:
    return blob.data if isinstance(blob, BlobCreate) else blob.properties.get("data")


def _content_hash(blobs: Sequence[Blob], fields: Mapping[str, Json]) -> str:
    """SHA-256 over what the object holds: the blob's own hash when one blob is all there is.

    A blob that stays where it lies is known by its URL.
    """
    hashes = sorted(f"{blob.property}:{blob.details.hash or blob.source_url}" for blob in blobs)
    if len(blobs) == 1 and not fields and blobs[0].details.hash:
        return blobs[0].details.hash
    return hashlib.sha256(orjson.dumps([hashes, fields], option=orjson.OPT_SORT_KEYS)).hexdigest()
