"""`web_scraper`: how far a crawl goes, how it behaves, and what becomes of pages."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.web_scraper import EXTRACTOR
from lamina.extractors.web_scraper.crawl import Crawler
from lamina.extractors.web_scraper.parameters import WebScraperParameters
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from lamina.ingest.fetch_settings import FetchSettings
from tests.extractors.pages import Handler, Reply, Site, page, redirect, serving
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.openai import LanguageServer, asked, language_server

WINGS = "<p>A swept wing delays the rise of drag as an aeroplane nears the speed of sound.</p>"
BREAD = "<p>Sourdough bread rises slowly because wild yeast works at its own unhurried pace.</p>"
CODE = '<pre><code class="language-python">def lift(speed):\n    return speed ** 2\n</code></pre>'

SITE: Mapping[str, Reply | Handler] = {
    "/robots.txt": Reply("User-agent: *\nDisallow: /private/\n", "text/plain"),
    "/": page(
        "Wings",
        WINGS,
        CODE,
        '<figure><img src="wing.png" alt="A swept wing"><figcaption>Seen from above</figcaption></figure>',
        '<p>More on <a href="/bread">baking</a>, <a href="/deep/1">depth</a>, '
        '<a href="/private/plans">plans</a>,'
        ' <a href="/gone">lost</a>, <a href="/table.pdf">a table</a>, <a href="/sound">a recording</a>,'
        ' <a href="https://elsewhere.example/">elsewhere</a> and <a href="mailto:a@b.example">mail</a>.</p>',
        head='<meta name="description" content="On wings."><meta name="author" content="Ada Flyer">',
    ),
    "/bread": page("Bread", BREAD, '<a href="/#top">back</a> <a href="/deep/1?#x">again</a>'),
    "/deep/1": page(
        "Deep one", "<p>The first of the pages that lie deeper than the others do.</p>", "<a href=2>on</a>"
    ),
    "/deep/2": page(
        "Deep two", "<p>The second of the pages that lie deeper than the others do.</p>", "<a href=3>on</a>"
    ),
    "/deep/3": page("Deep three", "<p>The third of the pages that lie deeper than the others do.</p>"),
    "/imprint": page("Imprint", "<p>Who answers for this site and where they can be reached by post.</p>"),
    "/sound": Reply(b"OggS", "audio/ogg"),
    "/private/plans": page("Plans", "<p>Secret.</p>"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(SITE) as running:
        yield running


QUICK: Mapping[str, Any] = {
    "max_retries": 0, "generate_image_embeddings": False, "generate_structure_embeddings": False,
}  # fmt: skip


def outcome(models: Models, given: object, *, private: bool = True, **parameters: Any) -> Any:
    made = EXTRACTOR(EXTRACTOR.validate_parameters({**QUICK, **parameters}, models), models)
    made.fetching = FetchSettings(private_addresses=private, timeout=2.0)
    (found,) = made.extract([Source("a", {"url": given})])  # type: ignore[dict-item]
    return found


def crawled(models: Models, given: object, **parameters: Any) -> list[Part]:
    found = outcome(models, given, **parameters)
    assert isinstance(found, list), found
    return found


def of(parts: Sequence[Part], doc_type: str) -> list[Any]:
    return [part.fields for part in parts if part.fields["doc_type"] == doc_type]


def failure(models: Models, given: object, **parameters: Any) -> str:
    found = outcome(models, given, **parameters)
    assert isinstance(found, ExtractionError), found
    assert "'url'" in found.message
    return found.message


def titles(parts: Sequence[Part]) -> list[Any]:
    return [fields["title"] for fields in of(parts, "page")]


# Pages


def test_a_page_becomes_documents_of_its_text_code_and_pictures(models: Models, site: Site) -> None:
    parts = crawled(models, site.url, max_depth=0)
    assert site.paths == ["/"]
    (fields,) = of(parts, "page")
    assert (fields["url"], fields["title"], fields["depth"]) == (f"{site.url}/", "Wings", 0)
    assert "A swept wing delays the rise of drag" in fields["text"]
    assert "All rights reserved" not in fields["text"]
    assert "Imprint" not in fields["text"]
    assert (fields["description"], fields["author"]) == ("On wings.", "Ada Flyer")
    assert fields["link_count"] == 9
    (code,) = of(parts, "code")
    assert code["text"] == "def lift(speed):\n    return speed ** 2"
    assert code["code_language"] == "python"
    (picture,) = of(parts, "image")
    assert picture["text"] == "A swept wing. Seen from above"
    assert picture["image_url"] == f"{site.url}/wing.png"
    for part in parts:
        assert list(part.vectors) == ["all_minilm_l6_v2_v1"]
        assert part.lexical
    about = models.text_embedder().embed_queries(["drag of wings at transonic speed", "how bread rises"])
    assert np.argmax(about @ parts[0].vectors["all_minilm_l6_v2_v1"]) == 0


def test_links_are_followed_breadth_first_to_the_depth_wanted(models: Models, site: Site) -> None:
    parts = crawled(models, site.url, max_depth=2)
    assert titles(parts) == ["Wings", "Imprint", "Bread", "Deep one", "Deep two"]
    assert [fields["depth"] for fields in of(parts, "page")] == [0, 1, 1, 1, 2]
    assert len(site.paths) == len(set(site.paths))
    said = parts[0].fields["crawl"]
    assert isinstance(said, dict)
    assert (said["pages"], said["disallowed_by_robots"], said["stopped_by"]) == (5, 1, None)
    assert [(one["url"].removeprefix(site.url), one["reason"]) for one in said["failures"]] == [
        ("/gone", "The server answered with status 404."),
        ("/sound", "The URL serves audio/ogg; pages are HTML, Markdown or text."),
    ]


def test_a_crawl_keeps_to_robots_txt_the_site_and_what_are_pages(models: Models, site: Site) -> None:
    crawled(models, site.url, max_depth=3)
    assert not {"/private/plans", "/table.pdf"} & set(site.paths)
    assert [path for path, _ in site.asked].count("/robots.txt") == 1
    assert all(headers["user-agent"].startswith("Lamina/") for _, headers in site.asked)
    assert "robots.txt does not allow it" in failure(models, f"{site.url}/private/plans")


def test_patterns_choose_links_but_not_the_url_given(models: Models, site: Site) -> None:
    parts = crawled(models, site.url, max_depth=3, include_patterns=["/deep/"], exclude_patterns=[r"/2$"])
    assert titles(parts) == ["Wings", "Deep one"]


def test_a_trap_of_endless_links_comes_to_an_end(models: Models) -> None:
    def endless(asked: Mapping[str, str]) -> Reply:
        path = asked["path"]
        links = [f'<a href="{path}/{number}">more</a>' for number in range(5)]
        return page(path, f"<p>A page at {path} that links to five more of its kind.</p>", *links)

    with serving({"*": endless, "/robots.txt": Reply(status=404)}) as site:
        parts = crawled(models, f"{site.url}/a", max_pages=7, max_depth=10)
        assert len(of(parts, "page")) == 7
        assert parts[0].fields["crawl"]["stopped_by"] == "max_pages"  # type: ignore[index, call-overload]
        links = "".join(f'<a href="/x/{number}">x</a>' for number in range(300))
        site.replies = {"/a": page("Broken", "<p>All the links of this page are broken ones.</p>", links)}
        parts = crawled(models, f"{site.url}/a", max_pages=5)
        assert parts[0].fields["crawl"]["stopped_by"] == "failures"  # type: ignore[index, call-overload]


def test_a_crawl_ends_in_time_with_what_it_has(models: Models) -> None:
    slow = Reply("<p>late</p>", seconds=1.5)
    first = page(
        "Quick", "<p>This page is quick, but those that it links to are not.</p>", '<a href="/1">1</a>'
    )
    with serving({"/": first, "*": slow, "/robots.txt": Reply(status=404)}) as site:
        made = EXTRACTOR(EXTRACTOR.validate_parameters({**QUICK, "max_retries": 5}, models), models)
        made.fetching = FetchSettings(private_addresses=True, timeout=0.3, call_timeout=2.0)
        began = time.monotonic()
        (parts,) = made.extract([Source("a", {"url": site.url})])
        assert time.monotonic() - began < 10
        assert isinstance(parts, list)
        assert titles(parts) == ["Quick"]
        assert parts[0].fields["crawl"]["stopped_by"] == "crawl_timeout"  # type: ignore[index, call-overload]


def test_robots_txt_in_an_error_forbids_all_and_none_allows_all(models: Models) -> None:
    home = page("Home", "<p>There is a page here, and it has some words on it.</p>")
    with serving({"/": home, "/robots.txt": Reply(status=503)}) as site:
        assert "robots.txt" in failure(models, site.url)
        assert site.paths == []
        site.replies["/robots.txt"] = Reply(status=404)
        assert titles(crawled(models, site.url)) == ["Home"]


def test_authors_keep_pages_out_of_the_index_and_links_from_being_followed(models: Models) -> None:
    hidden = page(
        "Hidden", "<p>Not to be found, but its links may be.</p>", '<a href="/b">b</a>',
        head='<meta name="ROBOTS" content="noindex">',
    )  # fmt: skip
    links = '<a href="/a">a</a> <a rel="nofollow" href="/c">c</a>'
    with serving(
        {
            "/": page("Home", "<p>Here begins what may be read by everyone.</p>", links),
            "/a": hidden,
            "/b": page("B", "<p>The links of this page are not to be followed.</p>", '<a href="/c">c</a>',
                       head='<meta name="robots" content="index, nofollow">'),
            "/c": page("C", "<p>Nobody should come here by the links above.</p>"),
        }
    ) as site:  # fmt: skip
        assert titles(crawled(models, site.url, max_depth=5)) == ["Home", "B"]
        assert "/c" not in site.paths


# Addresses


def test_addresses_that_are_not_public_are_refused_unless_allowed(models: Models, site: Site) -> None:
    for url in (site.url, "http://169.254.169.254/latest/", "http://[::1]/", "http://10.0.0.1/"):
        assert "not public" in failure(models, url, private=False)
    assert site.asked == []
    assert "http://" in failure(models, "ftp://example.com/")
    assert "http://" in failure(models, "example.com/docs")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "not public"),
        ("http://user@127.0.0.1/", "user name"),
        ("file:///etc/passwd", "http://"),
        ("http://127.0.0.1:6379/", "port 6379"),
    ],
)
def test_a_redirect_inside_is_not_followed(models: Models, location: str, reason: str) -> None:
    with serving({"/": redirect(location)}) as site:
        assert reason in failure(models, site.url)


def test_redirects_within_the_site_are_followed_and_those_away_are_not(models: Models, site: Site) -> None:
    with serving({"/": page("Other", "<p>Another site, which nobody asked for.</p>")}) as other:
        site.replies["/bread"] = redirect(other.url)
        site.replies["/imprint"] = redirect("/deep/1")
        site.replies["/deep/1"] = redirect("/loop")
        site.replies["/loop"] = redirect("/loop")
        parts = crawled(models, site.url, max_depth=1)
        assert other.asked == []
        reasons = [one["reason"] for one in parts[0].fields["crawl"]["failures"]]  # type: ignore[index, call-overload, union-attr]
        assert reasons[:2] == ["It redirects to another site.", "It redirects more than 5 times."]
        moved = redirect(f"{other.url}/")
        site.replies["/moved"] = moved
        assert titles(crawled(models, f"{site.url}/moved")) == ["Other"]


# Manners


def test_failed_requests_are_tried_again_as_the_server_asks(models: Models) -> None:
    calls: list[float] = []

    def busy(asked: Mapping[str, str]) -> Reply:
        calls.append(time.monotonic())
        if len(calls) < 3:
            return Reply(status=429, headers={"Retry-After": "1"})
        return page("There", "<p>At the third attempt the page is there after all.</p>")

    with serving({"/": busy, "/robots.txt": Reply(status=404)}) as site:
        assert titles(crawled(models, site.url, max_retries=3, retry_base_delay=0.1)) == ["There"]
        assert min(np.diff(calls)) >= 1.0
        calls.clear()
        crawled(models, site.url, max_retries=3, retry_base_delay=0.1, respect_retry_after=False)
        assert calls[-1] - calls[0] < 0.9
        site.replies["/"] = Reply(status=503, headers={"Retry-After": "3600"})
        assert "status 503" in failure(models, site.url, max_retries=3, retry_max_delay=1.0)
        assert site.paths.count("/") == 7


def test_requests_keep_their_distance(models: Models, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []  # a busy machine notes at its arrival a request that was sent long ago
    pause = Crawler._pause

    async def noted(crawler: Crawler, wanted: float) -> None:
        await pause(crawler, wanted)
        sent.append(time.monotonic())

    monkeypatch.setattr(Crawler, "_pause", noted)
    crawled(models, site.url, max_pages=3, delay_between_requests=0.2)
    assert len(sent) == len(site.times) >= 3
    assert min(np.diff(sent)) >= 0.19
    site.replies["/robots.txt"] = Reply("User-agent: *\nCrawl-delay: 0.3", "text/plain")
    sent.clear()
    crawled(models, site.url, max_pages=2)
    assert min(np.diff(sent[1:])) >= 0.29  # the first asked for the rules


def test_headers_and_cookies_go_to_the_site_itself_only(models: Models, site: Site) -> None:
    cat = Reply(b"none", "text/plain")
    with serving({"*": cat}) as other:
        first = page(
            "Home", WINGS, '<a href="/bread">bread</a>', f'<img src="{other.url}/wing.png" alt="wing">'
        )
        site.replies["/"] = Reply(first.body, headers={"Set-Cookie": "session=7; Path=/"})
        headers = {"Authorization": "Bearer x", "User-Agent": "Acme/1"}
        made = EXTRACTOR(EXTRACTOR.validate_parameters({**QUICK, "custom_headers": headers}, models), models)
        made.fetching = FetchSettings(private_addresses=True, timeout=2.0)
        from lamina.ingest.fetch import Fetcher

        crawler = Crawler(Fetcher(made.fetching), made.parameters, max_redirects=5)  # type: ignore[arg-type]
        import asyncio

        asyncio.run(crawler.run([site.url], 20, pictures=True))
        seen = dict(site.asked)
        assert seen["/bread"]["authorization"] == "Bearer x"
        assert seen["/bread"]["cookie"] == "session=7"
        assert "cookie" not in seen["/"]
        assert {path for path, _ in other.asked} == {"/robots.txt", "/wing.png"}
        for _, sent in other.asked:
            assert "authorization" not in sent
            assert sent["user-agent"] == "Acme/1"
    site.asked.clear()
    crawled(models, site.url, persist_cookies=False)
    assert all("cookie" not in headers for _, headers in site.asked)


def test_a_page_that_asks_for_a_captcha_is_left_out(models: Models, site: Site) -> None:
    site.replies["/bread"] = page("Wait", '<p>Are you human?</p><div class="g-recaptcha"></div>')
    said: Any = crawled(models, site.url)[0].fields["crawl"]
    assert "The page asks for a captcha." in [one["reason"] for one in said["failures"]]
    assert "Wait" in titles(crawled(models, site.url, detect_captcha=False))


def test_a_semantic_crawl_goes_where_its_goal_is_first(models: Models, site: Site) -> None:
    goal = {"crawl_mode": "semantic", "crawl_goal": "baking bread"}
    assert titles(crawled(models, site.url, max_pages=2, **goal)) == ["Wings", "Bread"]
    with pytest.raises(ValidationError, match="crawl_goal"):
        EXTRACTOR.validate_parameters({"crawl_mode": "semantic"}, models)


# Ids and chunks


def test_documents_have_the_ids_that_the_strategy_wants(models: Models, site: Site) -> None:
    site.replies["/copy"] = site.replies["/bread"]
    both = [f"{site.url}/bread", f"{site.url}/copy"]
    by_url = crawled(models, both, max_depth=0)
    assert [part.position for part in by_url] == [f"{url} page 0" for url in both]
    by_place = crawled(models, both, max_depth=0, document_id_strategy="position")
    assert [part.position for part in by_place] == ["0 page 0", "1 page 0"]
    (by_content,) = crawled(models, both, max_depth=0, document_id_strategy="content")
    assert len(by_content.position) == 64


def test_pictures_are_fetched_found_and_shown(site: Site) -> None:
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    site.replies["/cat.png"] = Reply(located(PHOTOS["chelsea"]).read_bytes(), "image/png")
    site.replies["/broken.png"] = Reply(b"\x89PNG\r\n\x1a\n", "image/png")
    shown = '<img src="/cat.png"> <img src="/broken.png" alt="A broken picture"> <img src="/private/x.png">'
    site.replies["/pets"] = page("Pets", "<p>Some pictures of animals that live with people.</p>", shown)
    pictures: Any = {"generate_image_embeddings": True, "generate_structure_embeddings": True}
    parts = crawled(models, f"{site.url}/pets", max_depth=0, **pictures)
    cat, broken = (part for part in parts if part.fields["doc_type"] == "image")
    assert cat.fields["image_url"] == f"{site.url}/cat.png"
    by_words, by_likeness = models.default("embed_text_for_image"), models.default("embed_image")
    assert set(cat.vectors) == {by_words, by_likeness}
    queries = ["a cat", "a steam locomotive", "a bowl of soup"]
    scores = models.text_image_embedder().embed_queries(queries) @ cat.vectors[by_words]
    assert int(scores.argmax()) == 0
    assert [blob.field for blob in cat.blobs] == ["thumbnail"]
    assert (broken.fields["text"], list(broken.vectors)) == ("A broken picture", [models.default_text_model])
    assert "/private/x.png" not in site.paths


def test_text_is_split_as_asked(models: Models, site: Site) -> None:
    parts = crawled(
        models, f"{site.url}/bread", max_depth=0, chunk_strategy="words", chunk_size=5, chunk_overlap=1
    )
    chunks = of(parts, "page")
    assert all(len(one["text"].split()) <= 5 for one in chunks)
    assert [one["chunk_index"] for one in chunks] == list(range(len(chunks)))
    assert {one["chunk_count"] for one in chunks} == {len(chunks)}
    assert len({part.position for part in parts}) == len(parts)
    wide = EXTRACTOR.validate_parameters({"chunk_strategy": "paragraphs", "chunk_size": 3}, models)
    assert wide.overlap == 0  # type: ignore[attr-defined]


# Inline


def test_html_and_markdown_are_taken_inline(models: Models) -> None:
    document = SITE["/"]
    assert isinstance(document, Reply) and isinstance(document.body, str)
    for given in (document.body, BlobValue(document.body.encode(), "text/html", "wings.html")):
        parts = crawled(models, given)
        (fields,) = of(parts, "page")
        assert fields["title"] == "Wings"
        assert "url" not in fields
        assert "A swept wing delays" in fields["text"]
        assert of(parts, "code")[0]["code_language"] == "python"
        assert of(parts, "image") == []  # where its picture lies nobody knows
    markdown = "# Loaves\n\nBread is *good*.\n\n```sh\nbake\n```\n\n![A loaf](https://a.example/loaf.jpg)\n"
    parts = crawled(models, markdown)
    assert of(parts, "page")[0]["title"] == "Loaves"
    assert of(parts, "page")[0]["text"] == markdown.strip()
    assert [(one["text"], one["code_language"]) for one in of(parts, "code")] == [("bake", "sh")]
    assert of(parts, "image")[0]["image_url"] == "https://a.example/loaf.jpg"
    assert "crawl" not in parts[0].fields
    old = '<meta charset="iso-8859-1"><p>Ein Grüßlein aus der alten Zeit der Netze.</p>'.encode("latin-1")
    assert "Grüßlein" in of(crawled(models, BlobValue(old, "text/html")), "page")[0]["text"]


def test_a_page_made_to_take_long_does_not(models: Models) -> None:
    words = "<p>Some words that follow after what was made to take long.</p>"
    attributes = " ".join(f"a{number}=1" for number in range(200_000))
    for odd in (f"<p {attributes}>", "<div>" * 50_000, "<" * 300_000, "<table><tr><td><b>" * 5_000):
        began = time.process_time()
        outcome(models, f"<html><body>{words}{odd}{words}")
        assert time.process_time() - began < 10
    picture = "iVBORw0KGgo" * 20_000
    html = f'<html><body>{words}<img alt="drawn" src="data:image/png;base64,{picture}">{words}'
    assert "Some words that follow" in of(crawled(models, html), "page")[0]["text"]


def test_what_holds_no_page_fails_with_a_reason(models: Models, site: Site) -> None:
    assert "holds no text" in failure(models, "<html><body><script>x()</script></body></html>")
    assert "status 404" in failure(models, f"{site.url}/gone")
    assert "audio/ogg" in failure(models, f"{site.url}/sound")
    assert "either" in failure(models, [site.url, "<p>a page</p>"])


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"render_strategy": "javascript"}, "render_strategy"),
        ({"proxies": ["http://proxy.example:8080"]}, "proxies"),
        ({"captcha_service_provider": "2captcha"}, "captcha_service_provider"),
        ({"youtube_mode": "force"}, "youtube_mode"),
        ({"youtube_cookies_path": "/etc/passwd"}, "youtube_cookies_path"),
        ({"response_shape": "the price"}, "response_shape needs a language model"),
        ({"llm_provider": "typesafe"}, "'typesafe' is not enabled"),
        ({"include_patterns": ["("]}, "include_patterns"),
        ({"exclude_patterns": ["(?=x)"]}, "exclude_patterns"),
        ({"custom_headers": {"Host": "a"}}, "custom_headers"),
        ({"custom_headers": {"X-A": "b\r\nHost: c"}}, "custom_headers"),
        ({"max_pages": 501}, "max_pages"),
    ],
)
def test_what_cannot_be_served_is_refused(models: Models, parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        EXTRACTOR.validate_parameters(parameters, models)


# Structured extraction

SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "pace": {"type": ["string", "null"]}},
    "required": ["topic"],
}


@pytest.fixture
def language() -> Iterator[LanguageServer]:
    def read(body: dict[str, Any]) -> Any:
        if "JSON schema of an object" in body["messages"][0]["content"]:
            return {"properties": {"topic": {"type": "string"}}}
        first, *rest = asked(body).split()
        return {"topic": first, **({"pace": "slow"} if "slowly" in rest else {})}

    with language_server() as running:
        running.reply = read
        yield running


@pytest.fixture
def reading(models: Models, language: LanguageServer) -> Models:
    chat = EndpointSettings(language.url, "sk-installation", "tiny-chat")
    return Models(ModelSettings(models.settings.models_dir, chat=chat))


def test_a_language_model_reads_the_fields_of_a_shape_out_of_each_page(
    reading: Models, site: Site, language: LanguageServer
) -> None:
    parts = crawled(reading, site.url, max_depth=1, include_patterns=["/bread$"], response_shape=SHAPE)
    pages = of(parts, "page")
    assert [(one["title"], one["topic"], one.get("pace")) for one in pages] == [
        ("Wings", "Wings", None),
        ("Bread", "Bread", "slow"),
    ]
    assert all("topic" not in one for one in [*of(parts, "code"), *of(parts, "image")])
    assert [body["response_format"]["json_schema"]["schema"] for body in language.requests] == [SHAPE] * 2
    assert language.keys == ["Bearer sk-installation"] * 2
    declared = EXTRACTOR.output_schema(WebScraperParameters(response_shape=SHAPE))
    assert (declared["topic"]["type"], declared["title"]["type"]) == ("string", "string")
    assert "topic" not in EXTRACTOR.output_schema(WebScraperParameters())


def test_plain_language_is_a_shape_for_chunks_of_a_page_given_inline(reading: Models) -> None:
    text = "# Baking\n\nSourdough rises.\n\nYeast works slowly."
    given = {"chunk_strategy": "paragraphs", "chunk_size": 1, "chunk_overlap": 0}
    parts = crawled(reading, text, response_shape="what it is about", llm_model="tiny-chat", **given)
    assert [one["text"] for one in of(parts, "page")] == [
        "# Baking",
        "Sourdough rises.",
        "Yeast works slowly.",
    ]
    assert [one["topic"] for one in of(parts, "page")] == ["#", "Baking", "Baking"]  # the title goes before


def test_pages_that_the_language_model_fails_on_are_there_without_its_fields(
    reading: Models, site: Site, language: LanguageServer
) -> None:
    read = language.reply
    language.reply = lambda body: (
        (400, {"error": "no bread"}) if "Sourdough" in json.dumps(body["messages"]) else read(body)
    )
    given: dict[str, Any] = {"max_depth": 1, "include_patterns": ["/bread$"], "response_shape": SHAPE}
    found = outcome(reading, site.url, **given)
    assert isinstance(found, PartialExtractionError)
    assert (found.code, [one.get("topic") for one in of(found.parts, "page")]) == (
        "llm_refused",
        ["Wings", None],
    )


def test_a_shape_must_not_name_a_field_that_pages_have(reading: Models) -> None:
    with pytest.raises(ValidationError, match="'title'"):
        EXTRACTOR.validate_parameters({"response_shape": {"title": {"type": "string"}}}, reading)
    used = EXTRACTOR.uses(WebScraperParameters(response_shape=SHAPE), reading)
    assert used == ["all_minilm_l6_v2_v1", reading.default("chat")]
