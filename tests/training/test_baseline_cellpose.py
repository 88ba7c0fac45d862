"""The Cellpose baseline: what it trains on, and for how long; Cellpose itself is not needed."""

from __future__ import annotations

import csv

import imageio.v3 as iio
import numpy as np
import pytest

from baseline_cellpose import learning_rate, parse_arguments
from cellpose_model import CellposeRun
from data import load_samples, split_fold
from held_out import FOLDS, divided, names_of, refuse_validation


@pytest.fixture
def data(tmp_path):
    """Fields of one to four images in ``train/``, and some in ``val/``."""
    rng = np.random.default_rng(5)
    rows = []
    for split, fields in (("train", 20), ("val", 3)):
        for folder in ("images", "labels"):
            (tmp_path / split / folder).mkdir(parents=True)
        for field in range(fields):
            for tile in range(int(rng.integers(1, 5))):
                name = f"{split}-{field:02d}-{tile}.png"
                rows.append([split, name, f"{split}{field}", "dark"])
                for folder in ("images", "labels"):
                    pixels = rng.integers(0, 9, (8, 8)).astype(np.uint8)
                    iio.imwrite(tmp_path / split / folder / name, pixels)
    with (tmp_path / "fields.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["split", "name", "field", "look"], *rows])
    return tmp_path


@pytest.mark.parametrize("fold", [0, 3, 7])
def test_it_trains_on_the_images_of_the_model_and_no_others(data, fold):
    training, held = divided(data / "train", fold)
    ours, theirs = split_fold(load_samples(data / "train"), fold, FOLDS)
    assert training == [sample.name for sample in ours]
    assert held == [sample.name for sample in theirs] == names_of(data / "train", fold, 1)
    assert held
    assert not set(training) & set(held)
    assert not {n.split("-")[1] for n in training} & {n.split("-")[1] for n in held}
    assert all(name.startswith("train") for name in training)
    assert len(training) + len(held) == len(names_of(data / "train", None, 1))


def test_nothing_is_held_out_if_one_says_so(data):
    assert divided(data / "train", -1) == (names_of(data / "train", None, 1), [])


def test_it_refuses_to_train_on_val(data):
    with pytest.raises(SystemExit, match="nothing is chosen on val/"):
        refuse_validation(parse_arguments([str(data / "val"), "--output", "RUN"]).data)


def test_the_rate_follows_the_clock():
    rates = [learning_rate(share, 0.005) for share in np.linspace(0, 1, 401)]
    assert 0 < rates[0] < 0.0001
    assert rates == sorted(rates[:21]) + sorted(rates[21:], reverse=True)
    assert {rates[i] for i in range(20, 301)} == {0.005}
    assert rates[-1] == pytest.approx(0.005 / 2**10)
    assert len(set(rates[300:])) == 11  # ten halvings
    assert learning_rate(1.3, 0.005) == rates[-1]


def test_a_folder_without_a_network_is_no_reason_to_download_one(tmp_path):
    with pytest.raises(SystemExit, match="no network"):
        CellposeRun(tmp_path)
