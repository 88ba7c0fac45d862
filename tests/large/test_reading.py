"""Images of every kind, each chunk read as often as is said."""

from __future__ import annotations

import collections
import contextlib

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_sam_amg.errors import Cancelled, ImageError
from napari_sam_amg.image import prepare_image
from napari_sam_amg.intensity import Brightness
from napari_sam_amg.large import segment_large
from napari_sam_amg.large.brightness import Greys, NonFinite, mapping_of
from napari_sam_amg.large.source import Source, Strip

TILES = {"tile_size": 100, "tile_halo": 25, "points_per_side": 2}
MEASURED = Brightness(None, 1.0, (0.5, 99.5), map_uint8=True)


class Counting(zarr.storage.WrapperStore):
    """Counts how often each chunk is asked for."""

    reads: collections.Counter

    async def get(self, key, prototype, byte_range=None):
        if "/c/" in f"/{key}":
            self.reads[key] += 1
        return await super().get(key, prototype, byte_range)


def counted_zarr(image, chunks):
    store = Counting(zarr.storage.MemoryStore())
    store.reads = collections.Counter()
    array = zarr.create_array(store, data=image, chunks=chunks)
    store.reads.clear()
    return array, store.reads


@pytest.mark.parametrize("chunks", [(50, 60), (128, 128), (7, 464), (1000, 33)])
@pytest.mark.parametrize(
    ("contrast", "dtype", "times"),
    [((0, 255), np.uint8, 1), (None, np.uint16, 2), (None, np.float32, 2)],
)
def test_no_chunk_is_read_more_often_than_said(
    pretend, mosaic, tmp_path, chunks, contrast, dtype, times
):
    image, reads = counted_zarr(mosaic.astype(dtype), chunks)
    segment_large(pretend(contrast=contrast, **TILES), image, tmp_path / "out")
    across, down = (-(-n // min(c, n)) for n, c in zip(mosaic.shape, chunks, strict=True))
    assert set(reads.values()) == {times}
    assert len(reads) == across * down


def test_a_run_that_goes_on_reads_each_chunk_once(pretend, mosaic, tmp_path):
    from napari_sam_amg.large import steps_large

    image, reads = counted_zarr(mosaic.astype(np.uint16), (64, 64))
    generator = pretend(contrast=None, **TILES)
    for step in steps_large(generator, image, tmp_path / "out"):
        if step.done == 20:
            break
    reads.clear()
    segment_large(generator, image, tmp_path / "out")
    assert set(reads.values()) == {1}
    assert len(reads) == 6 * 8


def kinds(image, folder, opened):
    yield "array", image
    yield "fortran", np.asfortranarray(image)
    path = folder / "raw"
    image.tofile(path)
    yield "memmap", np.memmap(path, dtype=image.dtype, shape=image.shape, mode="r")
    yield "zarr", zarr.create_array({}, data=image, chunks=(40, 50, 2)[: image.ndim])
    yield "zarr 2", zarr.create_array({}, data=image, chunks=(40,) * image.ndim, zarr_format=2)
    uneven = ((30, 1, 60, image.shape[0] - 91), -1, -1)[: image.ndim]
    yield "dask", da.from_array(image, chunks=uneven)
    tifffile.imwrite(folder / "tiles.tif", image, tile=(64, 48), photometric=_photometric(image))
    yield "tiled TIFF", opened(folder / "tiles.tif")
    tifffile.imwrite(
        folder / "strips.ome.tif", image, rowsperstrip=5, photometric=_photometric(image)
    )
    yield "OME-TIFF", opened(folder / "strips.ome.tif")


def _photometric(image):
    return "rgb" if image.ndim == 3 else "minisblack"


@pytest.mark.parametrize("which", ["grey", "colour"])
def test_every_kind_of_array_gives_the_same(pretend, mosaic, tmp_path, which):
    image = mosaic[:150].astype(np.uint16) * 7
    if which == "colour":
        image = np.stack([mosaic[:150] // 2, mosaic[:150], mosaic[150:300]], axis=-1)
    generator = pretend(contrast=None if which == "grey" else (20, 200), **TILES)
    expected = None
    with contextlib.ExitStack() as stack:

        def opened(path):
            store = tifffile.imread(path, aszarr=True)
            stack.callback(store.close)
            return zarr.open_array(store, mode="r")

        for name, array in kinds(image, tmp_path, opened):
            result = segment_large(generator, array, tmp_path / f"out {name}", name=name)
            found = (result.masks().store.windows.tolist(), result.table.to_csv())
            expected = expected or found
            assert found == expected, name
            assert result.provenance["source"] == name
    assert len(expected[0]) > 5


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int32", "float32", "f8"])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_windows_are_mapped_as_the_image(dtype, channels):
    rng = np.random.default_rng(2)
    image = rng.normal(60, 30, (300, 70, *channels)).astype(dtype)
    if image.dtype.kind == "f":
        image[5, 6], image[290, 2], image[0, 0] = np.nan, np.inf, -np.inf
    for rule in (
        MEASURED,
        Brightness((10, 90), 0.7, (1, 99), map_uint8=False),
        Brightness(None, 1.0, (1, 99), map_uint8=False),
        Brightness(None, 1.7, (1, 99), map_uint8=False),
    ):
        whole = prepare_image(
            image,
            contrast=rule.contrast,
            gamma=rule.gamma,
            percentiles=rule.percentiles,
            map_uint8=rule.map_uint8,
        )
        source = Source(image)
        mapping = mapping_of(source, rule, should_stop=lambda: False)
        counts = NonFinite()
        strip = Strip(source, counts)
        greys = Greys.of(mapping)
        for rows, columns in ((slice(0, 40), slice(3, 50)), (slice(250, 262), slice(0, 70))):
            strip.hold(rows.start, rows.stop)
            np.testing.assert_array_equal(
                greys(strip.window(rows, columns)), whole.rgb[rows, columns]
            )
        strip.finish()
        found = counts.recorded(mapping)
        step = found.pop("sampled_step", None)
        assert step == (1 if found["percentiles"] else None)
        assert found == whole.mapping


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_contrast_of_a_sample(dtype):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 5000, (613, 407)).astype(dtype)
    found = mapping_of(
        Source(da.from_array(image, chunks=(90, 100))),
        MEASURED,
        should_stop=lambda: False,
        most=20_000,
    )
    sample = image if dtype == np.uint16 else image[::4, ::4]
    ordered = np.sort(sample, axis=None)
    last = ordered.size - 1
    expected = [ordered[int(np.floor(0.005 * last))], ordered[int(np.ceil(0.995 * last))]]
    assert found["contrast"] == expected
    assert found["sampled_step"] == (1 if dtype == np.uint16 else 4)


def test_contrast_can_be_ended_and_needs_a_value():
    for dtype in (np.uint16, np.float32):
        with pytest.raises(Cancelled):
            mapping_of(Source(np.ones((9, 9), dtype)), MEASURED, should_stop=lambda: True)
    with pytest.raises(ImageError, match="finite"):
        mapping_of(Source(np.full((9, 9), np.nan)), MEASURED, should_stop=lambda: False)


@pytest.mark.parametrize("shape", [(5,), (2, 5, 7), (0, 5), (5, 7, 2)])
def test_refuses_what_is_no_image(shape):
    with pytest.raises(ImageError, match="shape"):
        Source(np.zeros(shape, np.uint8))


def test_says_what_could_not_be_read(pretend, tmp_path):
    class Broken:
        shape, dtype = (300, 200), np.dtype("uint8")

        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    with pytest.raises(ImageError, match=r"rows 0 to 255 could not be read .*the disk is gone"):
        segment_large(pretend(**TILES), Broken(), tmp_path / "out", name="plane")
