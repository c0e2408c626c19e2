"""Run figures one after the other, then write the table: `python -m bench [figure…]`."""

import subprocess
import sys

from bench.table import write_table

FIGURES = (
    *("startup", "memory", "search", "graphs", "batch_get", "objects", "embedding", "ingestion", "images"),
    *("worker_memory", "install_size"),
    *("migrate", "sizes", "servers_search", "processes", "servers_ingestion", "ray", "failures"),
    *("quality", "quality_tokens", "quality_images", "quality_pages", "quality_speech", "quality_video"),
)


def main() -> None:
    """Each figure in a process of its own; the first failure ends it."""
    for figure in sys.argv[1:] or FIGURES:
        print(f"== {figure}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{figure}"], check=False)
        if done.returncode != 0:
            sys.exit(f"{figure} failed")
    write_table()


if __name__ == "__main__":
    main()
