"""The guarded fetcher: connections go where the check looked, and every limit holds."""

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import trustme

from lamina.core.errors import ValidationError
from lamina.ingest.fetch import filename_of
from tests.security.internet import (
    PUBLIC,
    PUBLIC_6,
    Internet,
    Names,
    always,
    answer,
    guarded,
    message_of,
    redirect,
    site,
    streaming,
)

# The connection goes where the check looked.


async def test_a_page_is_fetched_with_its_type_name_and_charset() -> None:
    def handler(path: str, headers: dict[str, str]) -> bytes:
        return answer("Grüße".encode("latin-1"), "Text/HTML; charset=ISO-8859-1")

    async with site(handler) as running:
        found = await guarded(private=True).fetch(
            f"http://127.0.0.1:{running.port}/folder/my%20page.html?q=1#top",
            accept=frozenset({"text/*"}),
            max_bytes=1000,
        )
    assert found.content == "Grüße".encode("latin-1")
    assert (found.mime_type, found.charset, found.filename) == ("text/html", "iso-8859-1", "my page.html")
    assert found.final_url == f"http://127.0.0.1:{running.port}/folder/my%20page.html?q=1"
    path, headers = running.requests[0]
    assert path == "/folder/my%20page.html?q=1"
    assert headers["host"] == f"127.0.0.1:{running.port}"
    assert {"cookie", "authorization", "referer"}.isdisjoint(headers)


async def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked() -> None:
    names = Names(public_example=[[PUBLIC], ["127.0.0.1"]])
    async with site(lambda path, headers: answer(b"public")) as running:
        network = Internet({PUBLIC: running.port, "127.0.0.1": running.port})
        found = await guarded(names=names, network=network).fetch(
            "http://public.example/", accept=None, max_bytes=99
        )
    assert found.content == b"public"
    assert network.connected == [PUBLIC]
    assert names.asked == ["public.example"]
    assert running.requests[0][1]["host"] == "public.example"


async def test_a_name_that_changes_its_address_between_hops_is_caught() -> None:
    names = Names(public_example=[[PUBLIC], ["127.0.0.1"]])
    async with site(lambda path, headers: redirect("/again")) as running:
        network = Internet({PUBLIC: running.port, "127.0.0.1": running.port})
        message = await message_of(guarded(names=names, network=network), "http://public.example/")
    assert "not public" in message
    assert network.connected == [PUBLIC]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "//10.0.0.1/",
        "http://inside.example/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_",
        "http://user@public.example/",
        "http://public.example:6379/",
        "http://[::1",
        "",
    ],
)
@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary"])
async def test_a_redirect_inside_is_not_followed(location: str, status: str) -> None:
    names = Names(public_example=[[PUBLIC]], inside_example=[["10.0.0.1"]])
    async with site(lambda path, headers: redirect(location, status)) as running:
        network = Internet({PUBLIC: running.port})
        message = await message_of(guarded(names=names, network=network), "http://public.example/")
    assert message.startswith("The URL ")
    assert network.connected == [PUBLIC]
    assert len(running.requests) == 1


async def test_redirects_are_followed_so_far_and_no_further() -> None:
    def handler(path: str, headers: dict[str, str]) -> bytes:
        left = int(path.strip("/"))
        return redirect(f"/{left - 1}") if left else answer(b"arrived")

    async with site(handler) as running:
        fetcher = guarded(private=True, redirects=3)
        base = f"http://127.0.0.1:{running.port}"
        found = await fetcher.fetch(f"{base}/3", accept=None, max_bytes=100)
        assert (found.content, found.final_url) == (b"arrived", f"{base}/0")
        assert "more than 3 times" in await message_of(fetcher, f"{base}/4")
        assert len(running.requests) == 8


async def test_a_redirect_from_one_public_host_to_another_is_followed_with_the_new_name() -> None:
    names = Names(one_example=[[PUBLIC]], two_example=[[PUBLIC_6]])
    async with (
        site(lambda path, headers: redirect("http://two.example/b?c=1")) as first,
        site(lambda path, headers: answer(b"two")) as second,
    ):
        network = Internet({PUBLIC: first.port, PUBLIC_6: second.port})
        found = await guarded(names=names, network=network).fetch(
            "http://one.example/a", accept=None, max_bytes=9
        )
    assert found.content == b"two"
    assert network.connected == [PUBLIC, PUBLIC_6]
    assert second.requests[0][0] == "/b?c=1"
    assert second.requests[0][1]["host"] == "two.example"


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    names = Names(public_example=[["93.184.215.99", PUBLIC]])
    async with site(lambda path, headers: answer(b"here")) as running:
        network = Internet({PUBLIC: running.port})
        found = await guarded(names=names, network=network).fetch(
            "http://public.example/", accept=None, max_bytes=9
        )
    assert found.content == b"here"
    assert network.connected == ["93.184.215.99", PUBLIC]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        site(lambda path, headers: answer(b"direct")) as running,
        site(lambda path, headers: answer(b"proxied")) as proxy,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        found = await guarded(private=True).fetch(
            f"http://127.0.0.1:{running.port}/", accept=None, max_bytes=9
        )
    assert found.content == b"direct"
    assert proxy.requests == []


async def test_cookies_of_one_answer_are_not_sent_with_the_next() -> None:
    def handler(path: str, headers: dict[str, str]) -> bytes:
        return answer(b"ok", Set_Cookie="session=1")

    async with site(handler) as running:
        fetcher = guarded(private=True)
        for _ in range(2):
            await fetcher.fetch(f"http://127.0.0.1:{running.port}/", accept=None, max_bytes=9)
    assert all("cookie" not in headers for _, headers in running.requests)


async def test_tls_is_checked_against_the_name_although_the_address_is_pinned() -> None:
    authority = trustme.CA()
    served, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("public.example").configure_cert(served)
    authority.configure_trust(trust)
    seen: list[str] = []
    served.sni_callback = lambda connection, name, context: seen.append(name)

    names = Names(public_example=[[PUBLIC]], other_example=[[PUBLIC]])
    async with site(lambda path, headers: answer(b"secret"), tls=served) as running:
        network = Internet({PUBLIC: running.port})
        fetcher = guarded(names=names, network=network, trust=trust)
        found = await fetcher.fetch("https://public.example/", accept=None, max_bytes=9)
        assert "TLS certificate" in await message_of(fetcher, "https://other.example/")
        assert "TLS certificate" in await message_of(
            guarded(names=names, network=network), "https://public.example/"
        )
    assert found.content == b"secret"
    assert seen[:2] == ["public.example", "other.example"]


# Limits.


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
async def test_what_fits_is_fetched_whole(size: int) -> None:
    async with site(lambda path, headers: answer(b"x" * size)) as running:
        found = await guarded(private=True).fetch(
            f"http://127.0.0.1:{running.port}/", accept=None, max_bytes=1000
        )
    assert found.content == b"x" * size


async def test_a_length_over_the_limit_is_refused_before_the_body_is_read() -> None:
    for length in ("1001", "9" * 20):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
        async with site(always(head)) as running:
            message = await message_of(guarded(private=True), f"http://127.0.0.1:{running.port}/")
        assert "more than the 1000 bytes" in message


async def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            sent += 1
            yield b"400\r\n" + b"x" * 1024 + b"\r\n"
            await asyncio.sleep(0)

    async with site(lambda path, headers: endless()) as running:
        message = await message_of(
            guarded(private=True), f"http://127.0.0.1:{running.port}/", max_bytes=100_000
        )
    assert "more than the 100000 bytes" in message
    assert sent < 10_000


async def test_a_compressed_page_is_read_and_its_size_counts_unpacked() -> None:
    body = gzip.compress(b"hello " * 100) + gzip.compress(b"second member", mtime=0)
    async with site(lambda path, headers: answer(body, Content_Encoding="gzip")) as running:
        url = f"http://127.0.0.1:{running.port}/"
        found = await guarded(private=True).fetch(url, accept=None, max_bytes=1000)
        assert found.content == b"hello " * 100 + b"second member"
        assert "more than the 500 bytes" in await message_of(guarded(private=True), url, max_bytes=500)
    assert running.requests[0][1]["accept-encoding"] == "identity"


async def test_a_gzip_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (200 << 20), compresslevel=1)
    async with site(lambda path, headers: answer(bomb, Content_Encoding="gzip")) as running:
        started = time.process_time()
        message = await message_of(
            guarded(private=True), f"http://127.0.0.1:{running.port}/", max_bytes=len(bomb) + 1000
        )
        assert time.process_time() - started < 1
    assert "more than the" in message


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "unheard-of"])
async def test_a_compression_that_was_not_asked_for_is_refused(encoding: str) -> None:
    async with site(lambda path, headers: answer(b"x", Content_Encoding=encoding)) as running:
        message = await message_of(guarded(private=True), f"http://127.0.0.1:{running.port}/")
    assert "compresses" in message


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"hello", mtime=0)[:-6], b""])
async def test_broken_compression_is_an_error_of_the_url(body: bytes) -> None:
    async with site(lambda path, headers: answer(body, Content_Encoding="gzip")) as running:
        message = await message_of(guarded(private=True), f"http://127.0.0.1:{running.port}/")
    assert "could not be fetched" in message


async def test_time_covers_head_body_and_redirects_together() -> None:
    async def slow_head() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    async def slow_body() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
        for _ in range(900):
            yield b"x"
            await asyncio.sleep(0.05)

    async def slow_redirect() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.2)
        yield redirect("/again")

    for handler in (slow_head, slow_body, slow_redirect):
        async with site(streaming(handler)) as running:
            started = time.perf_counter()
            message = await message_of(
                guarded(private=True, timeout=0.5, redirects=100), f"http://127.0.0.1:{running.port}/"
            )
        assert "longer than 0.5 seconds" in message
        assert time.perf_counter() - started < 10


async def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    async def hangs(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return []

    assert "longer than 0.2 seconds" in await message_of(
        guarded(names=hangs, timeout=0.2), "http://public.example/"
    )


# What the server says, and what can go wrong.


@pytest.mark.parametrize(
    ("mime_type", "accept", "fits"),
    [
        ("image/png", "image/*", True),
        ("IMAGE/PNG; x=y", "image/png", True),
        ("application/octet-stream", "image/*", True),
        ("binary/octet-stream", "image/*", True),
        ("", "image/*", True),
        ("nonsense", "image/*", True),
        ("text/html", "image/*", False),
        ("imagery/png", "image/*", False),
        ("image/svg+xml", "image/png", False),
    ],
)
async def test_the_type_that_the_server_names_is_checked(mime_type: str, accept: str, fits: bool) -> None:
    async with site(lambda path, headers: answer(b"x", mime_type)) as running:
        url = f"http://127.0.0.1:{running.port}/"
        if fits:
            assert (
                await guarded(private=True).fetch(url, accept=frozenset({accept}), max_bytes=9)
            ).content == b"x"
        else:
            message = await message_of(guarded(private=True), url, accept=frozenset({accept}))
            assert message == f"The URL serves {mime_type}. Accepted: {accept}."


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf", "Grüße.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\a.txt"', "a.txt"),
        ('attachment; filename=".."', "page"),
        ("inline", "page"),
        ("", "page"),
    ],
)
async def test_a_file_gets_the_name_that_the_server_suggests_without_folders(
    disposition: str, expected: str
) -> None:
    async with site(lambda path, headers: answer(b"x", Content_Disposition=disposition)) as running:
        found = await guarded(private=True).fetch(
            f"http://127.0.0.1:{running.port}/a/page", accept=None, max_bytes=9
        )
    assert found.filename == expected


def test_a_filename_is_only_a_name() -> None:
    assert filename_of("a/b\\c.txt") == "c.txt"
    assert filename_of("a\r\nb\0.txt") == "ab.txt"
    assert filename_of("x" * 300 + ".txt") == "x" * 251 + ".txt"
    for nothing in (None, "", "/", "a/", "..", ".", " ", "\n"):
        assert filename_of(nothing) is None


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial", "304 Same", "404 Not Found", "500 Oops"])
async def test_only_an_answer_that_has_the_file_counts(status: str) -> None:
    response = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    async with site(lambda path, headers: response) as running:
        message = await message_of(guarded(private=True), f"http://127.0.0.1:{running.port}/")
    assert message == f"The URL could not be fetched: the server answered with status {status[:3]}."


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_a_server_that_does_not_speak_http_is_an_error_of_the_url(response: bytes) -> None:
    async with site(lambda path, headers: response) as running:
        message = await message_of(
            guarded(private=True), f"http://127.0.0.1:{running.port}/", max_bytes=500_000
        )
    assert message.startswith("The URL could not be fetched: ")


async def test_an_unknown_host_and_a_closed_port_are_errors_of_the_url() -> None:
    assert "the host 'nowhere.example' is not known" in await message_of(
        guarded(names=Names()), "http://nowhere.example/"
    )
    async with site(lambda path, headers: b"") as running:
        port = running.port
    message = await message_of(guarded(private=True), f"http://127.0.0.1:{port}/")
    assert message == "The URL could not be fetched: the server takes no connection."


async def test_the_real_resolver_is_guarded_too() -> None:
    assert "not public" in await message_of(guarded(), "http://localhost/")
    async with site(lambda path, headers: answer(b"home"), host="127.0.0.1") as running:
        found = await guarded(private=True).fetch(
            f"http://localhost:{running.port}/", accept=None, max_bytes=9
        )
    assert found.content == b"home"


# One request at a time, as crawls make them.


async def test_one_request_is_answered_as_it_is() -> None:
    replies = {
        "/": answer(b"page", "text/html"),
        "/moved": redirect("http://10.0.0.1/"),
        "/film": answer(b"x", "video/mp4"),
    }
    async with site(lambda path, headers: replies.get(path) or answer(b"gone", status="404 Gone")) as running:
        fetcher, base = guarded(private=True), f"http://127.0.0.1:{running.port}"

        async def asked(path: str) -> tuple[int, bytes, str]:
            headers = {"User-Agent": "Acme", "Host": "elsewhere.example", "Accept-Encoding": "br"}
            found = await fetcher.ask(base + path, accept=frozenset({"text/*"}), max_bytes=9, headers=headers)
            return found.status, found.content, found.header("location")

        assert await asked("/") == (200, b"page", "")
        assert await asked("/moved") == (302, b"", "http://10.0.0.1/")
        assert await asked("/film") == (200, b"", "")
        assert await asked("/none") == (404, b"", "")
        _, headers = running.requests[0]
        assert (headers["user-agent"], headers["host"]) == ("Acme", f"127.0.0.1:{running.port}")
        assert headers["accept-encoding"] == "identity"
        with pytest.raises(ValidationError, match="could not be fetched"):
            await fetcher.ask(base, accept=frozenset(), max_bytes=9, headers={"X-A": "b\r\nHost: c"})


async def test_one_request_is_guarded_like_any_other() -> None:
    text = frozenset({"text/*"})
    async with site(always(answer(b"inside"))) as running:
        url = f"http://127.0.0.1:{running.port}/"
        with pytest.raises(ValidationError, match="not public"):
            await guarded().ask(url, accept=text, max_bytes=9)
        assert running.requests == []
        with pytest.raises(ValidationError, match="more than the 3 bytes"):
            await guarded(private=True).ask(url, accept=text, max_bytes=3)
