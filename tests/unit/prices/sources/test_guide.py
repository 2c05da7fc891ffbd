"""The guide's examples of sources are settings that load, and sources that open."""

from __future__ import annotations

import re
from pathlib import Path

from countersign.config import load_config
from countersign.prices.sources import PriceSource, open_source
from countersign.sessions import load_calendar


def test_every_example_of_a_source_loads_and_opens(root: Path, tmp_path: Path) -> None:
    page = (root / "docs" / "sources.md").read_text(encoding="utf-8")
    calendar = load_calendar("XNYS", "2008-01-01", "2008-12-31", tmp_path)
    (tmp_path / "config").mkdir()
    opened: dict[str, PriceSource] = {}
    for example in re.findall(r"```yaml\n(source:.*?)```", page, re.DOTALL):
        (tmp_path / "config" / "pipeline.yaml").write_text(
            f"symbols: [AAPL, BRK.B]\nfirst_session: 2008-09-02\nhistory: {{start: 2000-03-01}}\n{example}"
        )
        config = load_config(tmp_path)
        if config.source.kind != "own":
            opened[config.source.kind] = open_source(config.source, tmp_path, calendar, config.symbols or (), {})
    assert {kind: source.uri for kind, source in opened.items()} == {
        "http": "https://api.massive.com/…",
        "sql": "postgresql+psycopg://db.example/prices",
        "yfinance": "yfinance",
    }
