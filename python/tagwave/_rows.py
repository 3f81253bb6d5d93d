"""Rows of many files."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Iterator, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import InputError

if TYPE_CHECKING:
    from ._tagger import PathLike

#: Columns of tables besides scores and embedding: as in the rows of the program.
_FACTS = ("path", "model", "compat", "device", "decoder", "clip_start_s", "track_s", "clip_count")


class Rows(Iterator[dict[str, Any]]):
    """Iterator over the rows of files, in order, as they are computed; made by :meth:`Tagger.tag_files`.

    A row is a dict with the fields of the program's JSON Lines (docs/output.md), and ``scores`` (float32 [labels]),
    ``embedding`` (float32 [D]) and, with a tap, ``tap``. The row of a file that failed has ``path`` and ``error`` with
    ``kind`` and ``message``. ``len()`` is the number of files if it is known. Leaving a loop early ends the work.
    """

    def __init__(
        self,
        tagger: _native.Tagger,
        paths: Iterable[PathLike],
        labels: tuple[str, ...],
        *,
        top: int,
        threshold: float | None,
        on_error: str,
    ) -> None:
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError(f"expected a sequence of paths, found one path: [{paths!r}]")
        if on_error not in ("row", "raise"):
            raise InputError(f'on_error {on_error!r}: expected "row" or "raise"', "input")
        if top < 0:
            raise InputError(f"top {top}: expected a number from 0", "input")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold {threshold}: expected 0 to 1", "input")
        self._total = len(paths) if isinstance(paths, Sized) else None
        self._labels = labels
        self._selection = (top, threshold)
        self._is_raising = on_error == "raise"
        self._rows = _rows(tagger, iter(paths))

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> dict[str, Any]:
        found = self._next()
        row: dict[str, Any] = json.loads(found.json(*self._selection))
        row.pop("path_bytes", None)
        row["path"] = found.path
        if (scores := found.scores) is not None:
            row["scores"] = scores
            row["embedding"] = found.embedding
        if (tap := found.tap) is not None:
            row["tap"] = tap
        return row

    def _next(self) -> _native.Row:
        row = next(self._rows)
        if self._is_raising:
            try:
                row.check()
            except BaseException:
                self.close()
                raise
        return row

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("the number of files is not known")
        return self._total

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the work; no rows follow."""
        self._rows.close()

    def to_arrow(self) -> Any:
        """The rows that are left as a table of pyarrow (``pip install tagwave[arrow]``).

        Columns: the facts of the rows (``path``, ``model``, ..., ``warnings``), ``scores`` and ``embedding`` as lists of
        float32, and ``error``, whose rows have nulls in the others. The labels of the scores, as JSON, are the metadata
        ``labels`` of the column.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError("tables need pyarrow: pip install 'tagwave[arrow]'") from error
        numbers = pa.list_(pa.float32())
        types = {"clip_start_s": pa.float64(), "track_s": pa.float64(), "clip_count": pa.uint32()}
        fields = [pa.field(name, types.get(name, pa.string())) for name in _FACTS]
        fields += [
            pa.field("warnings", pa.list_(pa.string())),
            pa.field("scores", numbers, metadata={"labels": json.dumps(self._labels)}),
            pa.field("embedding", numbers),
            pa.field("error", pa.struct([("kind", pa.string()), ("message", pa.string())])),
        ]
        columns: dict[str, list[Any]] = {field.name: [] for field in fields}
        for row in self:
            if "error" not in row:
                row.setdefault("clip_count", 1)
            row["path"] = row["path"].encode(errors="surrogateescape").decode(errors="replace")
            for name, column in columns.items():
                column.append(row.get(name))
        return pa.table([pa.array(columns[field.name], field.type) for field in fields], pa.schema(fields))

    def to_parquet(self, path: PathLike, values: str = "tags") -> None:
        """Writes the rows that are left as the program does (docs/output.md), in place of an existing file.

        ``values`` are ``"tags"``, ``"embedding"`` or ``"tap"``. Without the last row there is no file.
        """
        writer = _native.TableWriter(os.fsdecode(path), values, *self._selection)
        try:
            while True:
                writer.write(self._next())
        except StopIteration:
            writer.finish()


def _rows(tagger: _native.Tagger, paths: Iterator[PathLike]) -> Generator[_native.Row, None, None]:
    """Feeds paths and takes rows; paths are read ahead as far as the library does."""
    run = _native.RowRun(tagger)
    is_fed = False
    try:
        while True:
            if not is_fed and run.has_room:
                try:
                    run.push(os.fsdecode(next(paths)))
                except StopIteration:
                    run.end()
                    is_fed = True
            waits = is_fed or not run.has_room
            row = run.next(waits)
            if row is not None:
                yield row
            elif waits:
                return
    finally:
        run.close()
