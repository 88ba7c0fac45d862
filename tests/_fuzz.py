"""Damage files of every kind at random and read them, under a limit on memory.

Run as a script, because what a hostile file must not do is to end the process. Arguments:
a folder, the number of damaged files, the seed.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

ODD = [
    None, True, 0, -1, 1, 2**31, 2**63, 10**300, 1.5, -0.0, 1e308, float("nan"), "", "0", "../x",
    "PPPP", "\ud800", [], {}, [[]], [0, 0], [70_000, 70_000], [46_000, 46_000], [[1e9] * 6],
    {"size": [46_000, 46_000], "counts": [0, 2_116_000_000]}, {"size": [0, 0], "counts": ""},
]  # fmt: skip


def _damaged_json(value, chance: random.Random):
    """Return `value` with one part replaced, removed or doubled."""
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        changed = dict(value) if isinstance(value, dict) else list(value)
        if chance.random() < 0.1:
            del changed[key]
        elif isinstance(changed, list) and chance.random() < 0.1:
            changed.append(changed[key])
        else:
            changed[key] = _damaged_json(changed[key], chance)
        return changed
    return chance.choice(ODD)


def _damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del changed[place:]
        elif kind == 1:
            changed[place : place + 4] = chance.choice([b"\0\0\0\0", b"\xff" * 4, b"\x7f\xff" * 2])
        elif kind == 2:
            changed[place:place] = changed[: chance.randrange(64)]
        else:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        if not changed:
            break
    return bytes(changed)


def main() -> None:
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import tifffile
    from PIL import Image

    import _faults
    from napari_sam_amg import formats
    from napari_sam_amg.errors import ImageError, ReadError
    from napari_sam_amg.masks import Masks

    logging_off()
    warnings.simplefilter("ignore")
    masks = _faults.sample("old")
    formats.write_coco({"a": masks, "b": masks[:1]}, folder / "coco.json")
    formats.write_coco({"a": masks}, folder / "poly.json", segmentation="polygon")
    data = json.loads((folder / "poly.json").read_text())
    for annotation in data["annotations"]:
        del annotation["rle"]
        del annotation["segmentation"][9:]
    (folder / "poly.json").write_text(json.dumps(data))
    formats.write_rle_json(masks, folder / "rle.json")
    formats.write_png_folder(masks, folder / "png")
    formats.write_labels(masks, folder / "label.tif")
    grey = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    for name in ("grey.png", "grey.jpg", "grey.bmp"):
        Image.fromarray(grey).save(folder / name)
    tifffile.imwrite(folder / "grey.tif", grey)
    Image.fromarray(grey).save(folder / "lzw.tif", compression="tiff_lzw")
    targets = [
        ("coco.json", formats.read_coco, folder / "coco.json"),
        ("poly.json", formats.read_coco, folder / "poly.json"),
        ("rle.json", formats.read_rle_json, folder / "rle.json"),
        ("rle.run.json", formats.read_rle_json, folder / "rle.json"),
        ("png/run.json", formats.read_png_folder, folder / "png"),
        ("png/metadata.csv", formats.read_png_folder, folder / "png"),
        ("png/1.png", formats.read_png_folder, folder / "png"),
        ("label.tif", formats.read_labels, folder / "label.tif"),
        *(
            (name, formats.read_image, folder / name)
            for name in ("grey.png", "grey.jpg", "grey.bmp", "grey.tif", "lzw.tif")
        ),
    ]
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    chance = random.Random(seed)
    report = {"refused": 0, "read": 0, "slowest": 0.0, "wrong": []}
    for _ in range(count):
        name, reader, path = chance.choice(targets)
        file = folder / name
        whole = file.read_bytes()
        if name.endswith(".json") and chance.random() < 0.7:
            damaged = json.dumps(_damaged_json(json.loads(whole), chance)).encode()
        else:
            damaged = _damaged_bytes(whole, chance)
        file.write_bytes(damaged)
        began = time.perf_counter()
        try:
            found = reader(path)
        except (ReadError, ImageError):
            report["refused"] += 1
        except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
            report["wrong"].append([name, damaged[:2000].hex(), traceback.format_exc()])
        else:
            report["read"] += 1
            results = list(found.values()) if isinstance(found, dict) else [found]
            assert all(isinstance(one, Masks | np.ndarray) for one in results)
        report["slowest"] = max(report["slowest"], time.perf_counter() - began)
        file.write_bytes(whole)
    json.dump(report, sys.stdout)


def logging_off() -> None:
    import logging

    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    main()
