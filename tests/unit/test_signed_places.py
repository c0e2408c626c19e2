"""URLs that read objects in the buckets of others, signed with their credentials and nothing else."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lamina.core.errors import ValidationError
from lamina.stores.blobs.elsewhere import Access, Place, place_of, signed

KEY = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
ACCESSES = [
    Access(
        "s3",
        "https://s3.eu-central-1.amazonaws.com",
        "eu-central-1",
        {"access_key_id": "THEIRS", "secret_access_key": "theirs"},
    ),
    Access(
        "gcs",
        "https://storage.googleapis.com",
        "auto",
        {"client_email": "THEIRS@x", "private_key": KEY.decode(), "private_key_id": "1"},
    ),
    Access(
        "azure_blob",
        "https://theirs.blob.core.windows.net",
        "",
        {"account_name": "theirs", "account_key": base64.b64encode(b"theirs").decode()},
    ),
]


@pytest.mark.parametrize("access", ACCESSES, ids=lambda access: access.provider)
def test_nothing_of_the_operators_variables_gets_into_a_url(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(access.provider, "bucket", "a b/ü.txt")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_SAS_KEY"):
        monkeypatch.setenv(name, "OPERATOR")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "operator")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"operator").decode())
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in (
        "AWS_SKIP_SIGNATURE",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_REQUEST_PAYER",
        "AWS_S3_EXPRESS",
    ):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_REGION", "operator-1")
    url = signed(place, access, 60)
    assert url.startswith(f"{access.endpoint}/bucket/a%20b/%C3%BC.txt?")
    assert "operator" not in url.lower()
    assert "payer" not in url


def test_credentials_that_sign_nothing_are_refused() -> None:
    access = Access(
        "gcs", "https://storage.googleapis.com", "auto", {"client_email": "x", "private_key": "x"}
    )
    with pytest.raises(ValidationError, match="cannot be used"):
        signed(Place("gcs", "b", "k"), access, 60)


@pytest.mark.parametrize(
    "url",
    ["", "s3:", "s3://", "s3://b", "s3://b/", "http://b/k", "s3://b//k", "s3://b/../k", "s3://b/a/./k", "s3://u:p@b/k",
     "s3://b:80/k", "s3://[::1]/k", "s3://[b/k", "file:///etc/passwd"],
)  # fmt: skip
def test_what_names_no_object_in_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        place_of(url, field="data")


def test_a_key_is_taken_as_it_is_written() -> None:
    assert place_of("s3://b/a%20b/c?d=1#e", field="data") == Place("s3", "b", "a%20b/c?d=1#e")
