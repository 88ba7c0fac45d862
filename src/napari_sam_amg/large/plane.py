"""One run over one very large plane."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import Cancelled, ImageError
from napari_sam_amg.large.brightness import Greys, NonFinite, mapping_of
from napari_sam_amg.large.candidates import Candidates
from napari_sam_amg.large.claim import claimed
from napari_sam_amg.large.identity import Identity, short
from napari_sam_amg.large.output import Output
from napari_sam_amg.large.result import LargeResult, LargeStep
from napari_sam_amg.large.selection import END, StreamedSelection
from napari_sam_amg.large.source import Source, Strip
from napari_sam_amg.large.work import WORK, Work, clear, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.engine.tiles import Tile

CHUNK = 512
"""Side of a chunk of the label image in pixels."""


@dataclasses.dataclass
class PlaneRun:
    """One run; the attributes are those of `steps_large`, resolved."""

    generator: AutomaticMaskGenerator
    source: Source
    folder: Path
    identity: Identity
    described: dict[str, Any]
    count: int
    should_stop: Callable[[], bool]

    def steps(self, *, resume: bool) -> Iterator[LargeStep]:
        """Begin, or go on, to the end."""
        with claimed(self.folder / WORK) as still_here:
            work = Work.found(self.folder, self.identity, resume=resume)
            if work is None:
                mapping = mapping_of(
                    self.source, self.generator.brightness, should_stop=self.should_stop
                )
                date = self.described["date"]
                record = {"identity": self.identity, "mapping": mapping, "date": date}
                work = Work.begun(self.folder, record)
            yield LargeStep(1, self.count + 2, "contrast", None)
            for step in self._tiles(work):
                still_here()
                yield step
        yield LargeStep(self.count + 2, self.count + 2, "write", LargeResult.open(self.folder))

    def _tiles(self, work: Work) -> Iterator[LargeStep]:
        shape, parameters = self.source.shape, self.generator.parameters
        greys, counts = Greys.of(work.record["mapping"]), NonFinite()
        writer = Output(
            self.folder,
            shape,
            overlap=parameters.overlap,
            chunk=CHUNK,
            pixel_size=self.identity["pixel_size"],
            unit=self.identity["unit"],
        )
        selection = StreamedSelection(shape, parameters)
        strip, seen = Strip(self.source, counts), hashlib.blake2b(digest_size=16)
        done = 1
        for row, frontier in self._rows():
            found = [Candidates.none(shape)]
            for tile in row:
                pixels, key = self._pixels(strip, tile, seen)
                kept = work.load(tile, key)
                if kept is None:
                    found.append(self._found(work, greys, pixels, tile, key))
                else:
                    found.append(kept)
                done += 1
                stage = "tile" if kept is None else "kept tile"
                yield LargeStep(done, self.count + 2, stage, None)
            writer.add(*selection.add(Candidates.concatenate(found), frontier))
        strip.finish()
        work.finish(
            {
                **self.described,
                "input": counts.recorded(work.record["mapping"]),
                "date": work.record["date"],
                "masks": writer.count,
                "pixel_size": self.identity["pixel_size"],
                "unit": self.identity["unit"],
                "identity": short(self.identity),
                "pixels": seen.hexdigest(),
            }
        )

    def compared(self, provenance: dict[str, Any]) -> Iterator[LargeStep]:
        """Make sure that a finished result is that of the image, which is read once more."""
        strip, seen = Strip(self.source, lambda block: None), hashlib.blake2b(digest_size=16)
        yield LargeStep(1, self.count + 2, "contrast", None)
        done = 1
        for row, _ in self._rows():
            for tile in row:
                self._pixels(strip, tile, seen)
                done += 1
                yield LargeStep(done, self.count + 2, "kept tile", None)
        if seen.hexdigest() != provenance["pixels"]:
            raise ImageError(
                f"{self.folder} holds the finished result of another image, or of this one before "
                "it was changed; choose another folder, or remove it"
            )
        clear(self.folder)
        yield LargeStep(self.count + 2, self.count + 2, "write", LargeResult.open(self.folder))

    def _rows(self) -> Iterator[tuple[list[Tile], int]]:
        """Yield rows of tiles, and the row of pixels where the next one begins."""
        rows = itertools.chain(self.generator.tile_rows(self.source.shape), [[]])
        for row, following in itertools.pairwise(rows):
            yield row, following[0].crop.box[1] if following else END

    def _pixels(
        self, strip: Strip, tile: Tile, seen: hashlib.blake2b
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        if self.should_stop():
            raise Cancelled("the run was ended between two tiles; it can be gone on with")
        rows, columns = tile.slices
        strip.hold(rows.start, rows.stop)
        pixels = strip.window(rows, columns)
        key = digest(pixels)
        seen.update(key.tobytes())
        return pixels, key

    def _found(
        self,
        work: Work,
        greys: Greys,
        pixels: NDArray[Any],
        tile: Tile,
        key: NDArray[np.uint8],
    ) -> Candidates:
        found = candidates(self.generator, greys, pixels, tile, should_stop=self.should_stop)
        work.save(tile, key, found)
        return found


def candidates(
    generator: AutomaticMaskGenerator,
    greys: Greys,
    pixels: NDArray[np.generic],
    tile: Tile,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Candidates:
    """Return the candidates of one tile, which depend on nothing but the arguments.

    So that it does not matter where or when it is called.

    Parameters
    ----------
    generator : AutomaticMaskGenerator
    greys : Greys
        How the image becomes 8-bit.
    pixels : ndarray, hxw or hxwxC
        The tile's, in the image's own values.
    tile : Tile
    should_stop : callable, optional
        As for `steps_large`.
    """
    found = generator.find_in_tile(greys(pixels), tile, should_stop=should_stop)
    return Candidates.of_tile(found, tile.number)
