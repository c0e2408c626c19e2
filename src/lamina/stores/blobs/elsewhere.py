"""Objects in the buckets of others: signed URLs that read them where they lie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from lamina.core.errors import ValidationError

if TYPE_CHECKING:  # not there at run time
    from obstore.store import S3Credential

Provider = Literal["s3", "gcs", "azure_blob"]

PROVIDERS: Final[Mapping[str, Provider]] = {"s3": "s3", "gs": "gcs", "az": "azure_blob"}
"""Whose objects the schemes of URLs name."""


@dataclass(frozen=True, slots=True)
class Access:
    """A provider, and credentials that were given for it; nothing of this process's own is ever added.

    `endpoint` is the URL of the provider's server. `credentials` are `access_key_id`, `secret_access_key` and
    maybe `session_token` for S3, the parts of a service account's key file for Google, and `account_name`
    and `account_key` for Azure.
    """

    provider: Provider
    endpoint: str
    region: str
    credentials: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """An object by its URL, taken apart."""

    provider: Provider
    bucket: str
    key: str


def place_of(url: str, *, field: str) -> Place:
    """Where `s3://bucket/key` and its like lead. `ValidationError` on `field` for what is none of them."""
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError:
        parts = urlsplit("")
    provider = PROVIDERS.get(parts.scheme.lower())
    key = (f"{parts.path}?{parts.query}" if parts.query else parts.path).removeprefix("/")
    named = all(one not in {"", ".", ".."} for one in key.split("/"))
    if provider is None or not parts.netloc or set(parts.netloc) & set("@:%[]") or not named:
        raise ValidationError(
            "The URL must be s3://bucket/key, gs://bucket/key or az://container/key.",
            field=field,
            code="url_refused",
        )
    return Place(provider, parts.netloc, key)


def signed(place: Place, access: Access, expires_in: int) -> str:
    """An https URL that reads the object for `expires_in` seconds. Reaches nothing.

    Raises `ValidationError` for credentials that nothing can be signed with.
    """
    try:
        url: str = obstore.sign(_store(place.bucket, access), "GET", place.key, timedelta(seconds=expires_in))
    except (BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValidationError(
            f"The connection's credentials cannot be used: {reason}", field="provider_config.credentials"
        ) from error
    wanted, got = urlsplit(access.endpoint), urlsplit(url)
    if (wanted.scheme, wanted.netloc) != (got.scheme, got.netloc):
        raise RuntimeError("a URL was signed for another endpoint than the connection's")
    return url


def _store(bucket: str, access: Access) -> S3Store | GCSStore | AzureStore:
    """A bucket with these credentials. The engine reads variables too, so all that they could say is said."""
    given = access.credentials
    match access.provider:
        case "s3":
            keys: S3Credential = {
                "access_key_id": given["access_key_id"],
                "secret_access_key": given["secret_access_key"],
                "token": given.get("session_token"),
                "expires_at": None,
            }
            return S3Store(
                bucket,
                config={
                    "endpoint": access.endpoint,
                    "aws_endpoint_url_s3": access.endpoint,
                    "region": access.region,
                    "virtual_hosted_style_request": False,
                    "skip_signature": False,
                    "s3_express": False,
                    "request_payer": False,
                },
                client_options={"allow_http": True},
                credential_provider=lambda: keys,
            )
        case "gcs":
            key = {**given, "type": "service_account", "gcs_base_url": access.endpoint}
            return GCSStore(bucket, config={"service_account_key": json.dumps(key)})
        case _:
            return AzureStore(
                bucket,
                config={
                    "account_name": given["account_name"],
                    "account_key": given["account_key"],
                    "endpoint": access.endpoint,
                },
            )


def filename(place: Place) -> str:
    """The last part of its key."""
    return unquote(place.key.rpartition("/")[2])
