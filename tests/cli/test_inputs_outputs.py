"""Which images are taken, and where results may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_sam_amg.cli.inputs import Source, find_images
from napari_sam_amg.cli.outputs import check_targets, targets
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.formats.png_folder import HEADER


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + "\n" if path.name == "metadata.csv" else "")
    return folder


TREE = ("b.png", "a.TIF", "notes.txt", ".hidden.png", "sub/c.jpg", "sub/deep/d.bmp", ".git/e.png")


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, ["a.TIF", "b.png"]),
        ({"recursive": True}, ["a.TIF", "b.png", "sub/c.jpg", "sub/deep/d.bmp"]),
        ({"pattern": "*.txt"}, ["notes.txt"]),
        ({"pattern": "[cd].*", "recursive": True}, ["sub/c.jpg", "sub/deep/d.bmp"]),
    ],
)
def test_folders(tmp_path: Path, keywords: dict, expected: list[str]) -> None:
    found = find_images([str(make(tmp_path, *TREE))], output=tmp_path / "out", **keywords)
    assert [source.name for source in found.images] == expected
    assert [source.path for source in found.images] == [tmp_path / name for name in expected]
    assert [p.name for p in found.ignored] == ([] if "pattern" in keywords else ["notes.txt"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png"]),
        ("**/*.[jb]*", ["b.png", "sub/c.jpg", "sub/deep/d.bmp"][1:]),
        ("sub/*/*", ["sub/deep/d.bmp"]),
        ("su?/*.jpg", ["sub/c.jpg"]),
    ],
)
def test_patterns_mirror_from_their_fixed_part(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    make(tmp_path, *TREE)
    found = find_images([str(tmp_path / pattern)], output=tmp_path / "out")
    base = tmp_path / "sub" if pattern.startswith("sub/") else tmp_path
    assert [source.path for source in found.images] == [tmp_path / name for name in expected]
    assert [base / source.name for source in found.images] == [s.path for s in found.images]


def test_files_are_taken_whatever_their_suffix_and_once(tmp_path: Path) -> None:
    make(tmp_path, "scan.dat", "odd[1].png")
    scan, odd = str(tmp_path / "scan.dat"), str(tmp_path / "odd[1].png")
    found = find_images([scan, odd, scan, str(tmp_path)], output=tmp_path / "out")
    assert [source.name for source in found.images] == ["scan.dat", "odd[1].png"]


@pytest.mark.parametrize("output", ["out", "sub", "."])
def test_results_are_not_taken_for_images(tmp_path: Path, output: str) -> None:
    make(tmp_path, "a.png", "out/a/0.png", "out/a/metadata.csv", "sub/b/0.png")
    make(tmp_path, "sub/b/metadata.csv", "old/metadata.csv", "old/1.png", "c.tmp-1/0.png")
    found = find_images([str(tmp_path)], output=tmp_path / output, recursive=True)
    assert [source.name for source in found.images] == ["a.png"]


def test_a_users_table_does_not_hide_images(tmp_path: Path) -> None:
    make(tmp_path, "plate/a.png")
    (tmp_path / "plate" / "metadata.csv").write_text("well,file\nA1,a.png\n")
    found = find_images([str(tmp_path)], output=tmp_path / "out", recursive=True)
    assert [source.name for source in found.images] == ["plate/a.png"]


@pytest.mark.parametrize(
    ("given", "finding"),
    [("nowhere.png", "no such file"), ("*.gif", "no file matches"), ("", "no image in this")],
)
def test_inputs_that_are_not_there(tmp_path: Path, given: str, finding: str) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(ParameterError, match=finding):
        find_images([str(tmp_path / given)], output=tmp_path / "out")


@pytest.mark.parametrize("given", ["n" * 304, "n/" * 3000 + "a.png", "*" * 300, "nul\0l"])
def test_inputs_that_cannot_be(tmp_path: Path, given: str) -> None:
    with pytest.raises(ParameterError, match=r"no such file|no file matches"):
        find_images([str(tmp_path / given)], output=tmp_path / "out")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("in/*/../*.png", "a.png"), ("in/../in/*.png", "a.png"), ("in/*/./b.png", "sub/b.png")],
)
def test_patterns_that_go_up_and_stay_within(tmp_path: Path, pattern: str, expected: str) -> None:
    make(tmp_path, "in/a.png", "in/sub/b.png")
    (found,) = find_images([str(tmp_path / pattern)], output=tmp_path / "out").images
    assert found.name == expected
    assert os.path.samefile(found.path, tmp_path / "in" / expected)


@pytest.mark.parametrize("pattern", ["*/../../p/*.png", "*/../../in/../p/*.png"])
def test_patterns_that_lead_out_are_refused(tmp_path: Path, pattern: str) -> None:
    """Their results would be written outside of --output."""
    make(tmp_path, "in/sub/b.png", "p/c.png")
    with pytest.raises(ParameterError, match=r"outside of --output: write the pattern without"):
        find_images([str(tmp_path / "in" / pattern)], output=tmp_path / "out")


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that cannot be read, not even by root."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    make(tmp_path, "closed/a.png")
    return tmp_path / "closed"


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, closed: Path) -> None:
    make(tmp_path, "b.png")
    found = find_images([str(tmp_path), str(tmp_path)], output=tmp_path / "o", recursive=True)
    assert [source.name for source in found.images] == ["b.png"]
    assert found.unreadable == ((closed, "cannot be read: permission denied"),)
    assert find_images([str(tmp_path)], output=tmp_path / "o").unreadable == ()


@pytest.mark.parametrize("given", [".", "closed"])
def test_nothing_but_a_folder_that_cannot_be_read(
    tmp_path: Path, closed: Path, given: str
) -> None:
    with pytest.raises(ParameterError, match=r"closed cannot be read: permission denied"):
        find_images([str(tmp_path / given)], output=tmp_path / "o", recursive=True)


@pytest.mark.parametrize(
    ("output_format", "expected"),
    [
        ("png", ["s/a.b"]),
        ("rle", ["s/a.b.json", "s/a.b.run.json"]),
        ("labels", ["s/a.b.tif"]),
        ("coco", []),
    ],
)
def test_targets_keep_inner_dots(output_format: str, expected: list[str]) -> None:
    source = Source(Path("s/a.b.png"), "s/a.b.png")
    found = targets(source, output=Path("out"), output_format=output_format, tables=())  # type: ignore[arg-type]
    assert found == tuple(Path("out") / name for name in expected)


def check(folder: Path, names: list[str], output_format: str, output: str = "out") -> None:
    sources = [Source(folder / name, name) for name in names]
    check_targets(sources, output=folder / output, output_format=output_format, tables=())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "output_format"),
    [
        (["a.png", "a.tif"], "png"),
        (["a.png", "a.tif"], "rle"),
        (["s/a.png", "s/a.tif"], "labels"),
        (["a.png", "a/b.png"], "png"),
        (["a.png", "a/x/b.png"], "png"),
        (["a.png", "a.run.png"], "rle"),
    ],
)
def test_collisions_are_refused(tmp_path: Path, names: list[str], output_format: str) -> None:
    with pytest.raises(ParameterError, match="would both be written to") as caught:
        check(tmp_path, names, output_format)
    assert all(str(tmp_path / name) in str(caught.value) for name in names)


@pytest.mark.parametrize(
    ("names", "output_format"),
    [
        (["a.png", "a.tif"], "coco"),
        (["a.png", "s/a.png"], "png"),
        (["a.png", "a/b.png"], "rle"),
        (["a.png", "ab.png", "a.b.png"], "png"),
    ],
)
def test_no_collision(tmp_path: Path, names: list[str], output_format: str) -> None:
    check(tmp_path, names, output_format)


def test_equal_names_from_two_folders_collide_in_a_dataset(tmp_path: Path) -> None:
    sources = [
        Source(tmp_path / "x" / "a.png", "a.png"),
        Source(tmp_path / "y" / "a.png", "a.png"),
    ]
    with pytest.raises(ParameterError, match="would both"):
        check_targets(sources, output=tmp_path / "out", output_format="coco", tables=())


def test_an_image_is_never_replaced_by_a_result(tmp_path: Path) -> None:
    make(tmp_path, "a.tif")
    with pytest.raises(ParameterError, match=r"would replace the image"):
        check(tmp_path, ["a.tif"], "labels", output=".")
    check(tmp_path, ["a.tif"], "labels")


def test_an_earlier_result_may_be_replaced_but_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "out/a/0.png", "out/a/metadata.csv", "out/a/run.json")
    check(tmp_path, ["a.png"], "png")
    make(tmp_path, "out/a/thesis.docx")
    with pytest.raises(ParameterError, match=r"thesis\.docx"):
        check(tmp_path, ["a.png"], "png")
    make(tmp_path, "out/b/0.png/kept.txt", "out/c", "out/d.json/x")
    for name, output_format in (("b.png", "png"), ("c.png", "png"), ("d.png", "rle")):
        with pytest.raises(ParameterError, match="choose another --output"):
            check(tmp_path, [name], output_format)


@pytest.mark.parametrize(
    ("first", "second"), [("caf\u00e9.png", "cafe\u0301.png"), ("a.png", "A.png")]
)
@pytest.mark.parametrize("output_format", ["png", "coco"])
def test_names_that_the_disk_tells_apart_do_not_collide(
    tmp_path: Path, first: str, second: str, output_format: str
) -> None:
    make(tmp_path, first, second)
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this disk takes the two names for the same")
    check(tmp_path, [first, second], output_format)


def test_output_that_is_a_file(tmp_path: Path) -> None:
    make(tmp_path, "out")
    with pytest.raises(ParameterError, match="this is a file"):
        check(tmp_path, ["a.png"], "png")


def test_stems_are_those_of_amg_py() -> None:
    for name in ("a.png", "a.b.tif", "s/a.JPG", "noext", "s.x/a"):
        assert Source(Path(name), name).stem == os.path.splitext(name)[0]
