"""Time points linked into tracks: exact truth, drift, gaps, divisions, and what is given out."""

from __future__ import annotations

import numpy as np
import pytest

from _linked import as_masks, same_partition
from napari_sam_amg import Masks, TrackParameters, Tracks, link_and_track, track_objects
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.linking import link_and_track_steps, track_steps
from napari_sam_amg.linking.drift import drift

SHAPE = (120, 140)


def disc(y: float, x: float, radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def painted(places: dict[int, tuple[float, float, float]]) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.int32)
    for label, (y, x, radius) in places.items():
        labels[disc(y, x, radius) & (labels == 0)] = label
    return labels


@pytest.fixture
def series() -> np.ndarray:
    """Eight time points of a drifting field; 4 divides into 8 and 9, 5 comes in, 1 leaves."""
    rng = np.random.default_rng(0)
    frames = []
    steps = rng.integers(-2, 3, (8, 7, 2)).cumsum(axis=0)
    for t in range(8):
        stage = np.array([5 * t, 4 * t])
        bases = {1: (10, 20), 2: (40, 30), 3: (15, 60), 4: (45, 70), 5: (-15, 95), 6: (60, 8)}
        places = {}
        for label, base in bases.items():
            y, x = np.array(base) + stage + steps[t, label - 1] * 0.5
            places[label] = (y, x, 8)
        if t >= 4:
            y, x, _ = places.pop(4)
            apart = 5 + t - 4
            places[8], places[9] = (y, x - apart, 5.5), (y, x + apart, 5.5)
        if t == 7:
            del places[1]
        frames.append(painted(places))
    return np.array(frames)


def kinds(labels: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
    return {
        "array": labels,
        "list": list(labels),
        "masks": [as_masks(frame, rng) for frame in labels],
    }


@pytest.mark.parametrize("kind", ["array", "list", "masks", "dask"])
def test_what_is_found_without_fault_is_the_truth(series, kind):
    import dask.array as da

    given = kinds(series, np.random.default_rng(0))
    given["dask"] = da.from_array(series, chunks=(1, -1, -1))
    tracks = track_objects(given[kind], max_distance=15)
    found = tracks.to_labels()
    assert same_partition(found, series)
    assert found.dtype == np.uint8
    (mother,) = np.unique(found[series == 4])
    daughters = [int(np.unique(found[series == label])[0]) for label in (8, 9)]
    assert tracks.parents == dict.fromkeys(sorted(daughters), mother)
    assert np.median(np.diff(tracks.drift, axis=0), axis=0) == pytest.approx([5, 4], abs=0.6)


def test_without_drift_the_field_moves_too_far(series):
    fast = np.array([np.roll(frame, (9 * t, 0), (0, 1)) for t, frame in enumerate(series)])
    with_drift = track_objects(fast[:5], max_distance=9, divisions=False)
    without = track_objects(fast[:5], max_distance=9, divisions=False, drift=False, min_length=1)
    assert not without.drift.any()
    assert with_drift.features["extent"].max() == 5
    assert without.features["extent"].max() < 5


@pytest.mark.parametrize(
    ("missing", "max_gap", "count"), [(1, 1, 1), (2, 1, 2), (2, 2, 1), (1, 0, 2)]
)
def test_a_gap_is_closed_up_to_its_limit(missing, max_gap, count):
    there = painted({1: (50, 50, 8)})
    frames = np.array([there, there, *[np.zeros_like(there)] * missing, there, there])
    tracks = track_objects(frames, max_gap=max_gap)
    assert len(tracks) == count
    assert tracks.features["missing"].tolist() == [missing if count == 1 else 0] * count


def test_distance_is_a_limit():
    frames = np.array([painted({1: (50, 30, 5)}), painted({1: (50, 50, 5)})])
    for distance, count in ((19.9, 2), (20.1, 1)):
        assert len(track_objects(frames, max_distance=distance, min_length=1)) == count


def test_overlap_is_a_limit():
    one, other = disc(50, 50, 8), disc(50, 54, 8)
    iou = (one & other).sum() / (one | other).sum()
    frames = [Masks.from_arrays([mask]) for mask in (one, other)]
    for least, count in ((iou - 0.01, 1), (iou + 0.01, 2)):
        assert len(track_objects(frames, min_overlap=float(least), min_length=1)) == count


def test_all_links_are_chosen_together():
    # The nearest is another's: taking it first would leave that one alone.
    frames = np.array(
        [painted({1: (50, 40, 4), 2: (50, 52, 4)}), painted({1: (50, 47, 4), 2: (50, 60, 4)})]
    )
    tracks = track_objects(frames, max_distance=12, drift=False)
    assert [ids.tolist() for ids in tracks.ids] == [[1, 2], [1, 2]]


def test_short_tracks_are_dropped_but_not_families(series):
    tracks = track_objects(series, max_distance=15, min_length=5)
    features = tracks.features
    family = set(tracks.parents) | set(tracks.parents.values())
    assert family
    assert ((features["extent"] >= 5) | features["track_id"].isin(family)).all()
    alone = track_objects(series, max_distance=15, min_length=5, divisions=False)
    assert alone.parents == {}
    assert (alone.features["extent"] >= 5).all()


def test_a_piece_of_a_mask_is_no_daughter():
    whole = disc(50, 50, 9)
    upper = whole & (np.arange(SHAPE[0])[:, None] < 50)
    frames = [Masks.from_arrays([whole])] * 3
    frames += [Masks.from_arrays([upper, whole & ~upper]), *frames]
    tracks = track_objects(frames)
    assert tracks.parents == {}
    assert len(tracks) == 1
    assert tracks.features["extent"].tolist() == [7]


def test_features(series):
    size = (0.5, 0.25)
    tracks = track_objects(series, max_distance=15, pixel_size=size)
    rows, features = tracks.frame_features, tracks.features
    labels = tracks.to_labels()
    from skimage.measure import regionprops

    expected = {(r.label, t): r for t, frame in enumerate(labels) for r in regionprops(frame)}
    assert set(zip(rows["track_id"], rows["frame"], strict=True)) == set(expected)
    for row in rows.to_dict("records"):
        region = expected[row["track_id"], row["frame"]]
        assert row["area"] == region.area
        assert [row["centroid-0"], row["centroid-1"]] == pytest.approx(region.centroid)
        assert row["centroid_um-1"] == pytest.approx(region.centroid[1] * 0.25)
        assert (
            series[row["frame"]][labels[row["frame"]] == row["track_id"]] == row["label"]
        ).all()
    for row in features.to_dict("records"):
        part = rows[rows["track_id"] == row["track_id"]]
        places = part[["centroid-0", "centroid-1"]].to_numpy() * size
        assert row["first_frame"] == part["frame"].min()
        assert row["last_frame"] == part["frame"].max()
        assert row["missing"] == row["extent"] - len(part)
        assert row["area"] == pytest.approx(part["area"].mean())
        steps = np.sqrt((np.diff(places, axis=0) ** 2).sum(1))
        assert row["path_length_um"] == pytest.approx(steps.sum())
        assert row["path_length"] == pytest.approx(steps.sum() / 0.25)
        assert row["displacement_um"] == pytest.approx(np.hypot(*(places[-1] - places[0])))
        assert row["speed_um"] == pytest.approx(steps.sum() / (row["extent"] - 1))
        assert row["parent"] == tracks.parents.get(row["track_id"], 0)
        assert row["children"] == list(tracks.parents.values()).count(row["track_id"])


def test_napari_takes_tracks(series):
    from napari.layers import Tracks as Layer

    tracks = track_objects(series, max_distance=15)
    data, graph, features = tracks.to_napari()
    layer = Layer(data, graph=graph, features=features)
    np.testing.assert_array_equal(layer.data, data)
    assert layer.graph == {child: [parent] for child, parent in tracks.parents.items()}
    assert len(layer.graph) == 2
    labels = tracks.to_labels()
    for track, frame, y, x in data:
        assert labels[int(frame), round(y), round(x)] == track


def test_volumes_are_followed():
    shape = (6, 40, 60)
    z, y, x = np.indices(shape)
    frames = np.zeros((5, *shape), dtype=np.int32)
    for t in range(5):
        for label, (cz, cy, cx) in {3: (2, 12, 12), 7: (3, 25, 30), 9: (3, 14, 45)}.items():
            ball = ((z - cz) / 2.5) ** 2 + ((y - cy - 2 * t) / 7) ** 2 + (
                (x - cx - t) / 7
            ) ** 2 < 1
            frames[t][ball] = label
    direct = track_objects(frames, pixel_size=(3, 1, 1))
    assert same_partition(direct.to_labels(), frames)
    stacks = [[as_masks(plane) for plane in frame] for frame in frames]
    tracks = link_and_track(
        stacks, link={"min_overlap": 0.0, "min_neck": 0.0}, pixel_size=(3, 1, 1)
    )
    assert same_partition(tracks.to_labels(), frames)
    data, graph, features = tracks.to_napari()
    assert data.shape == (15, 5)
    assert graph == {}
    np.testing.assert_array_equal(features["voxels"], direct.frame_features["voxels"])
    np.testing.assert_allclose(
        tracks.frame_features["volume_um3"], direct.frame_features["voxels"] * 3
    )
    from napari.layers import Tracks as Layer

    assert Layer(data, graph=graph, features=features).ndim == 4


@pytest.mark.parametrize("count", [1, 3])
def test_without_objects(count):
    tracks = track_objects([Masks.empty((7, 9))] * count)
    assert len(tracks) == 0
    assert tracks.to_labels().shape == (count, 7, 9)
    data, graph, features = tracks.to_napari()
    assert data.shape == (0, 4)
    assert graph == {}
    assert len(tracks.features) == len(features) == 0


def test_a_single_time_point_keeps_its_objects():
    frame = painted({4: (50, 50, 8), 6: (20, 20, 5)})
    assert same_partition(track_objects([frame]).to_labels()[0], frame)


def test_very_many_objects():
    side, count = 640, 64 * 64
    y, x = np.divmod(np.arange(count), 64)
    frames = np.zeros((4, side, side), dtype=np.int32)
    for t in range(4):
        for dy in range(6):
            for dx in range(6):
                frames[t, 10 * y + dy + t, 10 * x + dx] = np.arange(1, count + 1)
    tracks = track_objects(frames)
    assert same_partition(tracks.to_labels(), frames)
    assert tracks.to_labels().dtype == np.uint16


def test_progress_and_cancelling(series):
    steps = list(track_steps(series))
    assert [step.done for step in steps] == list(range(1, 19))
    assert {step.total for step in steps} == {18}
    assert isinstance(steps[-1].result, Tracks)
    assert all(step.result is None for step in steps[:-1])
    running = track_steps(series)
    next(running)
    running.close()
    assert list(running) == []


def test_progress_of_slices_and_time_points_together(series):
    stacks = [[as_masks(frame), as_masks(frame)] for frame in series[:3]]
    steps = list(link_and_track_steps(stacks))
    total = 3 * 5 + 8
    assert [(step.done, step.total) for step in steps] == [(i + 1, total) for i in range(total)]
    assert [step.result is None for step in steps] == [True] * (total - 1) + [False]
    volumes = steps[-1].result.frames.items
    assert [len(volume) for volume in volumes] == [len(np.unique(f)) - 1 for f in series[:3]]


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "at least one"),
        (np.zeros((2, 3), int), "time x height x width"),
        ([Masks.empty((3, 4)), Masks.empty((4, 3))], "time point 1 is Masks of 4 x 3"),
        ([Masks.empty((3, 4)), np.zeros((3, 4), int)], "time point 1 is labels of 3 x 4"),
        (["a"], "time point 0 is str"),
    ],
)
def test_time_points_that_cannot_be_tracked(frames, says):
    with pytest.raises(ImageError, match=says):
        track_steps(frames)


def test_labels_that_are_no_integers():
    with pytest.raises(ImageError, match="float64"):
        track_objects(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"max_distence": 1}, "did you mean 'max_distance'"),
        ({"max_distance": 0.0}, "max_distance=0.0"),
        ({"min_length": 0}, "min_length=0"),
        ({"divisions": "yes"}, "divisions"),
        ({"pixel_size": (1, 1, 1)}, "give 2 lengths"),
    ],
)
def test_parameters_that_are_refused(parameters, says):
    with pytest.raises(ParameterError, match=says):
        track_objects([Masks.empty((3, 4))], **parameters)


def test_provenance_is_json(series):
    import json

    tracks = track_objects(series, max_gap=1)
    kept = json.loads(json.dumps(tracks.provenance))
    assert kept["parameters"] == TrackParameters(max_gap=1).model_dump()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("shift", [(0, 0, 0), (0, 6, -11), (3, 20, 14)])
def test_drift_is_found_among_others(axes, shift):
    rng = np.random.default_rng(axes)
    moved = np.array(shift if axes == 3 else (0, *shift[1:]), dtype=float)
    before = rng.uniform(0, 200, (150, 3)) * ([1, 1, 1] if axes == 3 else [0, 1, 1])
    noise = rng.normal(0, 0.8, before.shape) * ([1, 1, 1] if axes == 3 else [0, 1, 1])
    after = (before + moved + noise)[rng.random(150) > 0.2]
    strangers = rng.uniform(0, 200, (30, 3)) * ([1, 1, 1] if axes == 3 else [0, 1, 1])
    after = rng.permutation(np.concatenate([after, strangers]))
    sizes = (np.full(len(before), 100), np.full(len(after), 100))
    assert drift(before, after, *sizes, 12.0) == pytest.approx(moved, abs=0.5)


def test_few_objects_tell_no_drift():
    places = np.zeros((3, 3))
    sizes = np.ones(3, dtype=int)
    assert drift(places, places + 5, sizes, sizes, 10.0).tolist() == [0, 0, 0]
