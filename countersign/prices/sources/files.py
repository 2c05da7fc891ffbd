"""Bars from files: one, a folder or a glob of them, local or behind an fsspec URL.

Belongs here: finding and opening files, and keeping secrets out of what is said of them. Does not belong here: what
is in a file (``bodies``, ``shapes``, ``cells``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from countersign.errors import SourceError, TransportError
from countersign.prices.sources.bodies import refusing
from countersign.prices.sources.cells import MAX_BARS, DateOrder, Decimal, to_frame
from countersign.prices.sources.secrets import Secrets, hidden, is_clear, shown
from countersign.prices.sources.shapes import Reading, Reply

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_FILES: Final = 20_000
_ENDINGS: Final = re.compile(r"(?i)\.(csv|txt|json|jsonl|ndjson|parquet|pq)(\.gz)?$|\.zip$")
"""Of the files of a folder, those that are read; hidden ones, such as macOS lays beside others, are not."""
_WILD: Final = re.compile(r"[*?\[]")


class _File(NamedTuple):
    path: str
    """What is opened."""
    name: str
    """Its last part, by which a file may name its symbol."""
    uri: str
    """What is said of it."""


class FileSource:
    """Bars from the files at ``location``: a path (relative ones from ``folder``) or an fsspec URL, of a file, a folder
    (a URL of one ends in ``/``), or a glob. The other arguments are those of ``Reading``.
    """

    def __init__(
        self,
        location: str,
        folder: Path,
        *,
        zone: str = "UTC",
        profile: str = "auto",
        symbol: str = "",
        rename: Mapping[str, str] | None = None,
        max_bars: int = MAX_BARS,
        dates: DateOrder = "auto",
        decimal: Decimal = "",
    ) -> None:
        self._remote = "://" in location
        self._location = location if self._remote else str(folder / location)
        self._uri = shown(location) if self._remote else location
        self._secrets = Secrets({})
        for part in hidden(location) if self._remote else ():
            self._secrets.add(part)
        self._reading = Reading(zone, profile, symbol, rename or {}, dates=dates, decimal=decimal)
        self._max_bars = max_bars

    @property
    def uri(self) -> str:
        """The location as configured, without a user name, password or query."""
        return self._uri

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``."""
        files = self._files()
        reply = Reply(self._uri, replace(self._reading, first=first, last=last))
        frame = to_frame(self._bars(files, reply), self._uri, self._max_bars)
        # What two files say alike, of a folder or in a zip, was delivered twice.
        return reply.mark(frame if reply.bodies == 1 else frame.drop_duplicates(ignore_index=True))

    def symbols(self) -> list[str]:
        """See ``PriceSource.symbols``."""
        reply = Reply(self._uri, replace(self._reading, numbers=()))
        for _ in self._bars(self._files(), reply):
            pass
        return sorted(reply.symbols.names - {""})

    def _bars(self, files: list[_File], reply: Reply) -> Iterator[pa.Table]:
        for path, name, uri in files:
            try:
                with refusing(uri, self._words), self._open(path) as file:
                    yield from reply.bars(file, name, uri)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
                raise self._nothing(self._words(error)) from None
            except OSError as error:
                if self._remote:
                    # Without the cause, whose words may hold the password.
                    raise TransportError(f"{uri} could not be reached: {self._words(error)}") from None
                raise SourceError(
                    f"{uri}: expected a readable file: {error}. Deliver it again, then run again"
                ) from error
        if reply.is_cut:
            raise SourceError(
                f"{self._uri}: expected all pages of a reply, found that each says that further ones follow. Save "
                "these, too, and give their folder in source.path"
            )

    def _files(self) -> list[_File]:
        """All files, in the order of their names."""
        if self._remote and not is_clear(self._location):
            raise SourceError(
                f"source.path: expected a URL, found {self._uri} with a / ? # or @ in its user or password. Write "
                "these as %2F, %3F, %23 and %40 in config/pipeline.yaml"
            )
        found = self._remote_files() if self._remote else self._local_files()
        if not found:
            raise self._nothing(f"no file at {self._uri if self._remote else self._location}")
        if len(found) > MAX_FILES:
            raise SourceError(
                f"{self._uri}: expected at most {MAX_FILES:,} files, found more. Deliver fewer, larger ones"
            )
        return found

    def _local_files(self) -> list[_File]:
        path = Path(self._location)
        if path.is_dir():
            paths = [p for p in sorted(path.iterdir()) if p.is_file() and _is_read(p.name)]
        elif _WILD.search(self._location) and not path.exists():
            start = Path(path.anchor)
            found = start.glob(str(path.relative_to(start)))
            paths = sorted(p for p in found if p.is_file() and not p.name.startswith("."))
        else:
            if path.exists() and not path.is_file():
                raise self._nothing(f"{path} is no file")
            return [_File(str(path), path.name, self._uri)]
        return [_File(str(p), p.name, f"{self._uri}: {p.name}") for p in paths]

    def _remote_files(self) -> list[_File]:
        last = self._location.split("::")[0]
        is_folder = last.endswith("/") and not last.endswith("://")
        if not is_folder and not re.search(r"[*\[]", last):
            # Of a chain of URLs (simplecache::zip://a.csv::s3://…) the first that has a path names the file.
            named = next(url for url in self._uri.split("::") if "://" in url)
            return [_File(self._location, named.rsplit("/", 1)[-1], self._uri)]
        import fsspec

        pattern = f"{last}*" if is_folder else last
        try:
            opened = fsspec.open_files("::".join([pattern, *self._location.split("::")[1:]]), "rb")
        except FileNotFoundError:
            return []
        except (ValueError, ImportError) as error:
            raise self._unknown(error) from None
        except OSError as error:
            raise TransportError(f"{self._uri} could not be reached: {self._words(error)}") from None
        paths = sorted(file.full_name for file in opened)
        found = [_File(path, name := path.split("::")[0].rsplit("/", 1)[-1], f"{self._uri}: {name}") for path in paths]
        return [file for file in found if (_is_read(file.name) if is_folder else not file.name.startswith("."))]

    def _open(self, path: str) -> Any:
        if not self._remote:
            return Path(path).open("rb")
        import fsspec

        try:
            return fsspec.open(path, "rb")
        except (ValueError, ImportError) as error:
            raise self._unknown(error) from None

    def _unknown(self, error: Exception) -> SourceError:
        return SourceError(
            f"source.path: expected a URL that fsspec can open, found {self._uri}: {self._words(error)}. Correct it in "
            "config/pipeline.yaml, or install what is missing"
        )

    def _nothing(self, words: str) -> SourceError:
        return SourceError(
            f"source.path: expected a file of prices, found none that can be opened at {self._uri} ({words}); correct "
            "it in config/pipeline.yaml"
        )

    def _words(self, error: Exception) -> str:
        """An error's message without the parts of the location that are secret."""
        return self._secrets.hide(str(error).rstrip("."))


def _is_read(name: str) -> bool:
    return bool(_ENDINGS.search(name)) and not name.startswith(".")
