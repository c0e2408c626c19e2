"""A crawl: from URLs along their links, within limits, as polite as sites ask for."""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.patterns import compile_pattern
from lamina.extractors.web_scraper.pages import (
    Link,
    Page,
    decode,
    is_html,
    read_html,
    read_markdown,
)
from lamina.extractors.web_scraper.parameters import WebScraperParameters
from lamina.extractors.web_scraper.robots import MAX_BYTES as ROBOTS_BYTES
from lamina.extractors.web_scraper.robots import Robots
from lamina.inference.base import Image as Pixels
from lamina.ingest.addresses import read_url
from lamina.ingest.fetch import USER_AGENT, Answer, Fetcher

INPUT: Final = "url"

PAGE_BYTES: Final = 5 << 20
IMAGE_BYTES: Final = 20 << 20
IMAGE_SIDE: Final = 512
"""Longest side that pictures are kept with until they are embedded."""

MAX_IMAGES: Final = 200
"""Pictures that one crawl fetches."""

MAX_WAITING: Final = 20_000
"""Links that wait to be followed; further ones are left out."""

REQUESTS_PER_PAGE: Final = 4
"""Links tried for each page wanted, so that a site of broken links comes to an end."""

_MARKDOWN: Final = frozenset({"text/markdown", "text/x-markdown", "text/plain"})
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_PAGES: Final = _MARKDOWN | _HTML
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_NO_PAGES: Final = (
    *(".7z", ".avi", ".css", ".csv", ".doc", ".docx", ".exe", ".gif", ".gz", ".ico", ".jpeg", ".jpg", ".js"),
    *(".json", ".mov", ".mp3", ".mp4", ".ogg", ".pdf", ".png", ".ppt", ".pptx", ".rss", ".svg", ".tar"),
    *(".ttf", ".wav", ".webm", ".webp", ".woff", ".woff2", ".xls", ".xlsx", ".xml", ".zip"),
)
_CAPTCHAS: Final = ("g-recaptcha", "h-captcha", "cf-turnstile", "cf-challenge", "challenge-platform")
_CAPTCHA_TEXT: Final = 400
"""Characters of text up to which a page with a captcha is nothing but that."""

Relevance = Callable[[Sequence[str]], Sequence[float]]
"""How near the words of links are to what a crawl looks for; the higher the nearer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A URL that gave no page, and why."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Crawled:
    """A page, and how many links it is away from the URLs given."""

    page: Page
    depth: int


@dataclass(slots=True)
class Crawl:
    """What a crawl brought. `stopped_by` names the limit that ended it, if one did.

    `pictures` are by URL, shape (height, width, 3).
    """

    pages: list[Crawled] = field(default_factory=list)
    pictures: dict[str, Pixels] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    disallowed: int = 0
    stopped_by: str | None = None


class _Left(Exception):
    """A URL that gives no page, and why; `robots` when its site asks for that."""

    def __init__(self, reason: str, *, robots: bool = False) -> None:
        super().__init__(reason)
        self.robots = robots


class Crawler:
    """Crawls from some URLs. For one crawl, in one event loop.

    `relevance` orders the links of a semantic crawl. Headers of the caller's and cookies go to the sites of
    the URLs given; every URL, those of redirects too, is checked by the fetcher and against robots.txt.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        given: WebScraperParameters,
        *,
        max_redirects: int,
        relevance: Relevance | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._given = given
        self._max_redirects = max_redirects
        self._relevance = relevance
        own = {name.title(): value for name, value in (given.custom_headers or {}).items()}
        self._headers = {"User-Agent": USER_AGENT, **own}
        self._robots = Robots(self._ask_robots, self._headers["User-Agent"])
        self._include = [compile_pattern(one, True) for one in given.include_patterns or ()]
        self._exclude = [compile_pattern(one, True) for one in given.exclude_patterns or ()]
        self._cookies = httpx.Cookies()
        self._own_sites: set[tuple[str, str]] = set()
        self._sites: set[str] = set()
        self._seen: set[str] = set()
        self._waiting: list[tuple[float, int, int, str]] = []
        self._last_request = float("-inf")
        self._tried = 0
        self._found = Crawl()

    async def run(self, seeds: Sequence[str], seconds: float, *, pictures: bool) -> Crawl:
        """The pages, nearest first, and with `pictures` those that they show.

        Raises `ExtractionError` when not even one page could be read.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._walk(seeds)
                if pictures:
                    await self._fetch_pictures()
        except TimeoutError:
            self._found.stopped_by = "crawl_timeout"
        if not self._found.pages:
            raise self._nothing(seconds)
        return self._found

    async def _walk(self, seeds: Sequence[str]) -> None:
        for seed in seeds:
            url = _normal(seed)
            self._own_sites.add((urlsplit(url).scheme, site_of(url)))
            self._sites.add(site_of(url))
            self._wait_for([Link(url, "")], 0)
        while self._waiting:
            if len(self._found.pages) >= self._given.max_pages:
                self._found.stopped_by = "max_pages"
                return
            if self._tried >= self._given.max_pages * REQUESTS_PER_PAGE:
                self._found.stopped_by = "failures"
                return
            _, _, depth, url = heapq.heappop(self._waiting)
            self._tried += 1
            try:
                page = await self._page(url, seed=depth == 0)
            except _Left as left:
                self._found.disallowed += left.robots
                if depth == 0 or not left.robots:
                    self._found.failures.append(Failure(url, str(left)))
                continue
            if page is None:
                continue
            self._found.pages.append(Crawled(page, depth))
            if depth < self._given.max_depth and page.followed:
                self._wait_for(page.links, depth + 1)

    def _wait_for(self, links: Sequence[Link], depth: int) -> None:
        """Put links in line: breadth first, or the most relevant first."""
        fresh: dict[str, Link] = {}
        for link in links:
            try:
                url = _normal(link.url)
            except ValidationError:
                continue  # not one that may be fetched at all
            if url in self._seen or len(self._seen) >= MAX_WAITING:
                continue
            if depth == 0 or self._wanted(url):
                self._seen.add(url)
                fresh[url] = link
        ranks: Sequence[float] = [depth] * len(fresh)
        if self._relevance is not None and depth > 0 and fresh:
            words = [f"{link.text} {' '.join(_words(url))}" for url, link in fresh.items()]
            ranks = [-score for score in self._relevance(words)]
        order = len(self._seen)
        for number, (url, rank) in enumerate(zip(fresh, ranks, strict=True)):
            heapq.heappush(self._waiting, (rank, order + number, depth, url))

    def _wanted(self, url: str) -> bool:
        if site_of(url) not in self._sites or urlsplit(url).path.lower().endswith(_NO_PAGES):
            return False
        if self._include and not any(occurs(url) for occurs in self._include):
            return False
        return not any(occurs(url) for occurs in self._exclude)

    async def _page(self, url: str, *, seed: bool) -> Page | None:
        """The page behind a URL, None when a redirect led to one that is known; `_Left` says why not."""
        try:
            answer = await self._followed(url, seed=seed)
        except ValidationError as error:
            raise _Left(error.message) from error
        if answer is None:
            return None
        if answer.header("cf-mitigated") == "challenge" and self._given.detect_captcha:
            raise _Left("The page asks for a captcha.")
        if answer.status != 200:
            raise _Left(f"The server answered with status {answer.status}.")
        if answer.mime_type is not None and answer.mime_type not in _PAGES:
            raise _Left(f"The URL serves {answer.mime_type}; pages are HTML, Markdown or text.")
        text = decode(answer.content, answer.charset)
        if answer.mime_type in _MARKDOWN or not (answer.mime_type in _HTML or is_html(text)):
            page = read_markdown(text, answer.url)
        else:
            page = read_html(text, answer.url, robots=answer.header("x-robots-tag"))
        is_short = self._given.detect_captcha and len(page.text) < _CAPTCHA_TEXT
        if is_short and any(sign in text for sign in _CAPTCHAS):
            raise _Left("The page asks for a captcha.")
        return page

    async def _followed(self, url: str, *, seed: bool) -> Answer | None:
        """The answer at the end of a page's redirects, each allowed by robots.txt."""
        passed = {url}
        for _ in range(self._max_redirects + 1):
            if not await self._robots.allows(url):
                raise _Left("robots.txt does not allow it.", robots=True)
            answer = await self._ask(url, _PAGES, PAGE_BYTES)
            if not answer.redirects:
                return answer
            url = _target(answer)
            if seed:
                self._sites.add(site_of(url))
            if site_of(url) not in self._sites:
                raise _Left("It redirects to another site.")
            if url in self._seen and url not in passed:  # a site may set a cookie and send one back
                return None
            self._seen.add(url)
            passed.add(url)
        raise _Left(f"It redirects more than {self._max_redirects} times.")

    async def _fetch_pictures(self) -> None:
        """The pictures of the pages, each once; one that cannot be had is left out."""
        from lamina.media.images import read_image

        wanted = dict.fromkeys(image.url for one in self._found.pages for image in one.page.images)
        for url in list(wanted)[:MAX_IMAGES]:
            try:
                content = await self._picture(url)
                if content is not None:
                    self._found.pictures[url] = read_image(content, side=IMAGE_SIDE, name=INPUT).pixels
            except (ValidationError, ExtractionError) as error:
                self._found.failures.append(Failure(url, error.message))

    async def _ask_robots(self, url: str) -> Answer:
        answer = await self._ask(url, frozenset({"text/*"}), ROBOTS_BYTES, robots=True)
        for _ in range(self._max_redirects):
            if not answer.redirects:
                break
            answer = await self._ask(_target(answer), frozenset({"text/*"}), ROBOTS_BYTES, robots=True)
        return answer

    async def _picture(self, url: str) -> BytesIO | None:
        """The bytes of a picture; None when robots.txt does not allow it or it is none."""
        url = _normal(url)
        for _ in range(self._max_redirects + 1):
            if not await self._robots.allows(url):
                self._found.disallowed += 1
                return None
            answer = await self._ask(url, frozenset({"image/*"}), IMAGE_BYTES)
            if not answer.redirects:
                return BytesIO(answer.content) if answer.content else None
            url = _target(answer)
        return None

    # Requests

    async def _ask(self, url: str, accept: frozenset[str], max_bytes: int, *, robots: bool = False) -> Answer:
        """One answer, after as many attempts as it takes and is allowed. Raises `ValidationError`."""
        given = self._given
        for attempt in range(given.max_retries + 1):
            await self._pause(0.0 if robots else await self._robots.delay(url))
            try:
                answer = await self._request(url, accept, max_bytes)
            except ValidationError as error:
                if error.code != "url_unreachable" or attempt == given.max_retries:
                    raise
                wait = self._backoff(attempt)
            else:
                if answer.status not in _RETRIED or attempt == given.max_retries:
                    return answer
                asked = _retry_after(answer) if given.respect_retry_after else None
                wait = self._backoff(attempt) if asked is None else asked
                if wait > given.retry_max_delay:
                    return answer
            await asyncio.sleep(wait)
        raise AssertionError("an attempt returns or raises")

    async def _request(self, url: str, accept: frozenset[str], max_bytes: int) -> Answer:
        request = httpx.Request("GET", url)
        own = self._own_sites & {
            ("http", site_of(url)),
            (urlsplit(url).scheme, site_of(url)),
        }  # never in the clear
        headers = dict(self._headers) if own else {"User-Agent": self._headers["User-Agent"]}
        if self._given.persist_cookies:
            self._cookies.set_cookie_header(request)
            if "cookie" in request.headers:
                headers.setdefault("Cookie", request.headers["cookie"])
        answer = await self._fetcher.ask(
            url, accept=accept, max_bytes=max_bytes, headers=headers, field=INPUT
        )
        if self._given.persist_cookies and site_of(url) in self._sites:
            response = httpx.Response(answer.status, headers=list(answer.headers), request=request)
            self._cookies.extract_cookies(response)
        return answer

    async def _pause(self, wanted: float) -> None:
        """Keep the time between two requests that the caller or the site wants."""
        least = max(wanted, self._given.delay_between_requests)
        left = self._last_request + least - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        self._last_request = time.monotonic()

    def _backoff(self, attempt: int) -> float:
        """Seconds, doubling, with up to a quarter more, so that many do not come back at once."""
        wait = self._given.retry_base_delay * 2.0**attempt * (1 + random.random() / 4)
        return float(min(wait, self._given.retry_max_delay))

    def _nothing(self, seconds: float) -> ExtractionError:
        if self._found.failures:
            reason = self._found.failures[0].reason
        elif self._found.stopped_by == "crawl_timeout":
            reason = f"the crawl took longer than {seconds:g} seconds."
        else:
            reason = "it holds no page."
        return ExtractionError(f"Input '{INPUT}': {reason}", code="no_page", input=INPUT)


def site_of(url: str) -> str:
    """What links stay within: the host, with or without `www.`, and its port unless it is the usual one."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.")
    return host if parts.port in {None, 80, 443} else f"{host}:{parts.port}"


def _normal(url: str) -> str:
    """The form in which two URLs of one page are equal. Raises `ValidationError`."""
    return str(read_url(url.partition("#")[0], field=INPUT))


def _target(answer: Answer) -> str:
    """Where an answer redirects to. Raises `ValidationError` for a place that may not be fetched."""
    location = answer.header("location")
    if not location:
        raise ValidationError("The server sent a redirect that leads nowhere.", field=INPUT)
    try:
        return _normal(urljoin(answer.url, location))
    except ValueError:
        raise ValidationError("The server sent a malformed redirect.", field=INPUT) from None


def _retry_after(answer: Answer) -> float | None:
    """Seconds that the server asks to wait, said as a number or as a date (RFC 9110); None if it does not."""
    said = answer.header("retry-after").strip()
    if said.isdigit() and len(said) < 9:
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _words(url: str) -> list[str]:
    """The words that a URL is made of."""
    path = urlsplit(url).path
    return "".join(letter if letter.isalnum() else " " for letter in path).split()
