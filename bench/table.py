"""`results/README.md` out of the results: `python -m bench.table`."""

from collections.abc import Iterator, Mapping, Sequence

import orjson

from bench.harness import RESULTS, Record


def write_table() -> None:
    """Write the table of what was to be reached, then every figure in full."""
    results = [orjson.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*.json"))]
    lines = ["# Results", "", "Written by `python -m bench.table` from the files beside it.", ""]
    lines += _row(["figure", "reach", "measured", "reached", "commit"])
    lines += _row(["---"] * 5)
    for result in results:
        for one in result["reach"]:
            met = "yes" if one["met"] else "**no**"
            lines += _row([one["what"], one["reach"], str(one["measured"]), met, f"`{result['commit']}`"])
    for result in results:
        lines += ["", f"## {result['title']}", "", *_about(result), ""]
        lines += _row(["", "measured"])
        lines += _row(["---", "---"])
        for name, value in result["figures"].items():
            lines += _row([name.replace("_", " "), _shown(value)])
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


def _about(result: Record) -> Iterator[str]:
    machine, load = result["machine"], result["load_average"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    yield (
        f"{result['date']}, commit `{result['commit']}`, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}. "
        f"Load average {load['before']} before, {load['after']} after. {packages}."
    )
    yield ""
    yield f"Parameters: {_shown(result['parameters'])}"


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(
            f"{name.replace('_', ' ')} ({_shown(one)})"
            if isinstance(one, Mapping)
            else f"{name} {_shown(one)}"
            for name, one in value.items()
        )
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    write_table()
