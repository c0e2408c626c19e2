"""Web pages: crawls a site from a URL, or reads HTML and Markdown given inline."""

from lamina.extractors.web_scraper.extractor import WebScraper

EXTRACTOR = WebScraper
