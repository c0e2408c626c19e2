"""The parameters of `web_scraper`, as the contract has them."""

import re
from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from lamina.core.patterns import compile_pattern
from lamina.core.types import JsonObject
from lamina.extractors.base import ExtractorParameters

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_OWN_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "upgrade", "te"}
)


class WebScraperParameters(ExtractorParameters):
    """How far a crawl goes, how politely, and what becomes of its pages."""

    extractor_type: Literal["web_scraper"] = Field(
        default="web_scraper", description="Names the extractor that these parameters are for."
    )

    max_depth: int = Field(
        default=2,
        ge=0,
        le=10,
        description="Links that a page may be away from the URL given; 0: none.",
    )
    max_pages: int = Field(default=50, ge=1, le=500, description="Pages that one crawl reads at most.")
    crawl_timeout: int = Field(
        default=300,
        ge=10,
        le=3600,
        description="Seconds after which a crawl ends with the pages it has. It never takes more than nine "
        "tenths of the installation's `extraction_timeout`, with a response_shape not more than half of it.",
    )
    crawl_mode: Literal["deterministic", "semantic"] = Field(
        default="deterministic",
        description="`deterministic` follows links breadth first; `semantic` first those whose words are "
        "nearest to crawl_goal by the text model.",
    )
    crawl_goal: str | None = Field(
        default=None, max_length=2000, description="What a `semantic` crawl looks for, in words."
    )
    render_strategy: Literal["static", "javascript", "auto"] = Field(
        default="auto",
        description="Pages are read as the server sends them; `javascript` is refused: no browser.",
    )
    include_patterns: list[str] | None = Field(
        default=None,
        max_length=100,
        description="Regular expressions (RE2); a link is followed only when one of them occurs in its URL.",
    )
    exclude_patterns: list[str] | None = Field(
        default=None, max_length=100, description="Regular expressions (RE2) of URLs that are not followed."
    )
    delay_between_requests: float = Field(
        default=0.0,
        ge=0.0,
        le=60.0,
        description="Seconds between two requests. A longer `Crawl-delay` in robots.txt is kept to.",
    )

    chunk_strategy: Literal["none", "sentences", "paragraphs", "words", "characters"] = Field(
        default="none", description="What a page's text is split into; `none` makes one document of it."
    )
    chunk_size: int = Field(
        default=500, ge=1, le=10_000, description="Size of a chunk in the unit of chunk_strategy."
    )
    chunk_overlap: int = Field(
        default=50,
        ge=0,
        le=5000,
        description="How much of a chunk's end the next one repeats, in the same unit. What is not less "
        "than chunk_size counts as a tenth of it.",
    )
    document_id_strategy: Literal["url", "position", "content"] = Field(
        default="url",
        description="What a document's id derives from: the page's URL, its place in the crawl, or its "
        "content, which makes one document of equal ones.",
    )

    generate_text_embeddings: bool = Field(
        default=True, description="Embed the text of pages and what is said of pictures."
    )
    generate_code_embeddings: bool = Field(default=True, description="Embed code blocks, by the text model.")
    generate_image_embeddings: bool = Field(
        default=True, description="Fetch pictures and embed them so that words find them, where a model can."
    )
    generate_structure_embeddings: bool = Field(
        default=True, description="Fetch pictures and embed them for likeness, where a model can."
    )

    max_retries: int = Field(
        default=3, ge=0, le=10, description="Further attempts after a failed request (429, 5xx, no answer)."
    )
    retry_base_delay: float = Field(
        default=1.0, ge=0.1, le=30.0, description="Seconds before the first retry; they double with each."
    )
    retry_max_delay: float = Field(
        default=30.0,
        ge=1.0,
        le=300.0,
        description="Longest wait before a retry. A page asking for more is left.",
    )
    respect_retry_after: bool = Field(
        default=True, description="Wait as long as a `Retry-After` header says instead."
    )
    persist_cookies: bool = Field(
        default=True, description="Send a site's cookies back to it during a crawl."
    )
    custom_headers: dict[str, str] | None = Field(
        default=None,
        description="Further headers of the requests to the sites given, and to no other. A `User-Agent` is "
        "also the name that robots.txt is read for.",
    )

    response_shape: str | JsonObject | None = Field(
        default=None,
        description="What a language model shall read out of each page, or each chunk of one, as further "
        "fields of its document: a JSON schema of an object, or plain language that the model makes one of.",
    )
    llm_provider: str | None = Field(
        default=None,
        description="Whose language model reads, where llm_api_key is a key for it: `openai`, `google` or "
        "`anthropic`. Without a key it is the installation's chat endpoint, whatever is named.",
    )
    llm_model: str | None = Field(
        default=None,
        description="Name of the language model at its endpoint; the installation's if left out.",
    )
    llm_api_key: str | None = Field(
        default=None,
        description="Key for the language model in place of the installation's: `{{SECRET.name}}` for one "
        "in the organization's vault, or the key itself, which whoever reads the collection sees.",
    )

    proxies: list[str] | None = Field(
        default=None, description="Refused: through a proxy no address could be checked."
    )
    rotate_proxy_on_error: bool = Field(default=True, description="Goes with proxies.")
    rotate_proxy_every_n_requests: int = Field(default=0, ge=0, le=1000, description="Goes with proxies.")
    detect_captcha: bool = Field(
        default=True, description="Leave out pages that ask whether one is a person, and say so."
    )
    captcha_service_provider: str | None = Field(default=None, description="Refused: no captcha is solved.")
    captcha_service_api_key: str | None = Field(default=None, description="Refused with its provider.")

    youtube_mode: Literal["auto", "off", "force"] = Field(
        default="auto", description="Channels are read as any other page; `force` is refused."
    )
    youtube_max_videos: int = Field(default=50, ge=1, le=5000, description="Goes with youtube_mode `force`.")
    youtube_backfill_months: int = Field(
        default=6, ge=1, le=60, description="Goes with youtube_mode `force`."
    )
    youtube_show_filter: str | None = Field(default=None, description="Goes with youtube_mode `force`.")
    youtube_download_videos: bool = Field(default=True, description="Goes with youtube_mode `force`.")
    youtube_format_ladder: str = Field(
        default="b[height<=720]/bv*[height<=720]+ba/best", description="Goes with youtube_mode `force`."
    )
    youtube_cookies_path: str | None = Field(
        default=None, description="Refused: no file of the server is read for a client."
    )
    youtube_request_sleep: float = Field(
        default=1.0, ge=0.0, le=30.0, description="Goes with youtube_mode `force`."
    )

    @property
    def overlap(self) -> int:
        """The overlap that chunks get."""
        return self.chunk_overlap if self.chunk_overlap < self.chunk_size else self.chunk_size // 10

    @field_validator("include_patterns", "exclude_patterns")
    @classmethod
    def _are_patterns(cls, patterns: Sequence[str] | None) -> Sequence[str] | None:
        for pattern in patterns or ():
            try:
                compile_pattern(pattern, True)
            except ValueError as error:
                raise ValueError(f"'{pattern}' is not a regular expression of RE2: {error}") from error
        return patterns

    @field_validator("custom_headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        for name, value in (headers or {}).items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"'{name}' is not a header that can be set")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the value of '{name}' must be printable ASCII")
        return headers

    @model_validator(mode="after")
    def _a_semantic_crawl_has_a_goal(self) -> Self:
        if self.crawl_mode == "semantic" and not (self.crawl_goal or "").strip():
            raise ValueError("crawl_mode 'semantic' needs a crawl_goal")
        return self
