"""Annotation files and class folders: what is read, and what each kind of mistake is answered with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ila_models.data.annotations import (
    AnnotationError,
    LabelledVideos,
    read_annotations,
    read_class_names,
)

FILES = ("a.mp4", "b c.mp4", "deep/er/d,1.mp4", "e.avi")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of files that are looked for, never opened."""
    for name in FILES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def written(data: Path, text: str, name: str = "list.txt") -> Path:
    path = data.parent / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(data: Path, text: str, **arguments: object) -> str:
    with pytest.raises(AnnotationError) as caught:
        read_annotations(data, written(data, text), **arguments)  # type: ignore[arg-type]
    return str(caught.value)


# Lines


def test_lines_of_the_released_code(data: Path) -> None:
    file = written(data, "a.mp4 0\nb c.mp4 2\n\n  ./deep/er/d,1.mp4\t1  \r\n")
    found = read_annotations(data, file)
    assert found == LabelledVideos(data, ("a.mp4", "b c.mp4", "deep/er/d,1.mp4"), (0, 2, 1), None, False)
    assert (len(found), found.num_classes) == (3, 3)


def test_names_for_the_numbers(data: Path) -> None:
    file = written(data, "\ufeffa.mp4 0\ne.avi 2\n")
    found = read_annotations(data, file, class_names=["jump", "run", "sit"])
    assert found.class_names == ("jump", "run", "sit")
    assert found.labels == (0, 2)
    assert not found.labels_are_names
    assert found.num_classes == 3


def test_bad_lines_are_told_with_their_numbers(data: Path) -> None:
    message = refusal(data, "a.mp4 0\ne.avi\n\nb c.mp4 run\ndeep/er/d,1.mp4,1\n")
    head, *problems = message.splitlines()
    assert head == f"{data.parent / 'list.txt'}: 3 problems:"
    assert [problem.split(" does not end")[0] for problem in problems] == [
        "  line 2: 'e.avi'",
        "  line 4: 'b c.mp4 run'",
        "  line 5: 'deep/er/d,1.mp4,1'",
    ]
    assert all("write `path label`, or a CSV whose first line is path,label" in problem for problem in problems)


def test_ten_problems_are_told_and_the_rest_counted(data: Path) -> None:
    message = refusal(data, "a.mp4 0\n" + "".join(f"gone_{number}.mp4 1\n" for number in range(1234)))
    head, *problems, last = message.splitlines()
    assert head.endswith(": 1,234 problems:")
    assert problems == [f"  line {number + 2}: no such video: {data / f'gone_{number}.mp4'}" for number in range(10)]
    assert last == "  and 1,224 more"


def test_one_problem_stands_in_one_line(data: Path) -> None:
    assert refusal(data, "a.mp4 0\ngone.mp4 1\n") == (
        f"{data.parent / 'list.txt'}, line 2: no such video: {data / 'gone.mp4'}"
    )


def test_missing_videos_are_kept_on_request(data: Path) -> None:
    file = written(data, "a.mp4 0\ngone.mp4 1\n")
    assert read_annotations(data, file, allow_missing=True).paths == ("a.mp4", "gone.mp4")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.mp4 0\ne.avi 1\n./a.mp4 0\n", "line 3: ./a.mp4 stands in line 1 too"),
        ("a.mp4 0\ne.avi -1\n", "line 2: label -1 is out of range: labels start at 0"),
        ("a.mp4 0\ne.avi 1.0\n", "line 2: 'e.avi 1.0' does not end in a blank and a number"),
        ("a.mp4 7\ne.avi 7\n", "all 2 videos are of one class, '7': a data set needs at least two"),
        ("", "empty: write a line `path label` for every video, or a CSV with a header"),
        (" \n\n", "empty: write a line"),
        ("path,label\n", "no video in it, only the header"),
        ("path,names\na.mp4,0\n", "the columns path, names: there must be one label column, called label or class or"),
        ("label,youtube_id\njump,xyz\n", "the columns label, youtube_id: there must be one path column, called path"),
        ("path,file,label\na.mp4,a.mp4,0\n", "there must be one path column, called path or file or filename or"),
        ("path,label\na.mp4,0\ne.avi,1,2\n", "line 3: 3 fields, the first line has 2: put a field with commas in"),
        ("path,label\na.mp4,0\n,1\n", "line 3: the path is empty"),
        ("path,label\na.mp4,0\ne.avi, \n", "line 3: the label is empty"),
        ('path,label\na.mp4,0\n"e.avi,1\n', "not CSV: unexpected end of data"),
        ("path,label\na.mp4,0\ne.avi,run\n", "line 2: label 0 is a number, and 'run' in line 3 a name: write one kind"),
    ],
)
def test_mistakes(data: Path, text: str, problem: str) -> None:
    message = refusal(data, text)
    assert message.startswith(str(data.parent / "list.txt"))
    assert problem in message


def test_a_file_that_is_written_in_two_ways_stands_twice(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a.mp4 0", "e.avi 1", f"{data}/a.mp4 0", f"../{data.name}/e.avi 1"]
    file = written(data, "\n".join(lines) + "\n")
    monkeypatch.chdir(data.parent)
    for root in (data, Path(data.name)):  # a relative one as well
        with pytest.raises(AnnotationError) as told:
            read_annotations(root, file)
        assert f"line 3: {data}/a.mp4 stands in line 1 too" in str(told.value)
        assert f"line 4: ../{data.name}/e.avi stands in line 2 too" in str(told.value)
    file = written(data, f"../{data.name}/a.mp4 0\n{data}/e.avi 1\n")
    assert read_annotations(data, file).paths == (f"../{data.name}/a.mp4", f"{data}/e.avi"), "as they were written"


def test_labels_beyond_the_names(data: Path) -> None:
    message = refusal(data, "a.mp4 0\ne.avi 2\n", class_names=["jump", "run"])
    assert message.endswith("line 2: label 2 is out of range: 2 class names are given, 0 to 1")


def test_files_that_are_no_text(data: Path) -> None:
    file = data.parent / "list.txt"
    file.write_bytes(b"a.mp4 0\n\xff\xfe 1\n")
    with pytest.raises(AnnotationError, match=r"list\.txt: not UTF-8 text \(byte 8\): save it as UTF-8"):
        read_annotations(data, file)
    file.write_bytes(b"a.mp4\0 0\n")
    with pytest.raises(AnnotationError, match="not a text file"):
        read_annotations(data, file)
    with pytest.raises(AnnotationError, match="is a folder: give a text file"):
        read_annotations(data, data)


def test_nothing_there(data: Path) -> None:
    with pytest.raises(ValueError, match=r"data='' is empty: name the folder of videos; '.' is the current one"):
        read_annotations("")
    with pytest.raises(FileNotFoundError, match=r"no such folder of videos: .*elsewhere"):
        read_annotations(data / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*gone\.txt"):
        read_annotations(data, data / "gone.txt")


# CSV


def test_csv_with_names(data: Path) -> None:
    file = written(data, 'Label,start,Path\n"walk, slowly",1,a.mp4\nrun,2,"deep/er/d,1.mp4"\nrun,,b c.mp4\n')
    found = read_annotations(data, file)
    assert found.paths == ("a.mp4", "deep/er/d,1.mp4", "b c.mp4")
    assert found.class_names == ("run", "walk, slowly")
    assert found.labels == (1, 0, 0)
    assert found.labels_are_names


def test_csv_with_numbers(data: Path) -> None:
    found = read_annotations(data, written(data, "path,label\na.mp4,3\ne.avi,0\n"))
    assert (found.labels, found.class_names, found.labels_are_names) == ((3, 0), None, False)


def test_csv_with_names_in_a_given_order(data: Path) -> None:
    file = written(data, "path,label\na.mp4,run\ne.avi,jump\n")
    found = read_annotations(data, file, class_names=["sit", "run", "jump"])
    assert (found.labels, found.class_names) == ((1, 2), ("sit", "run", "jump"))


def test_names_that_look_like_numbers(data: Path) -> None:
    file = written(data, "path,label\na.mp4,1\ne.avi,x\n")
    assert read_annotations(data, file, class_names=["x", "1"]).labels == (1, 0)
    file = written(data, "path,label\na.mp4,1\ne.avi,0\n")
    assert read_annotations(data, file, class_names=["1", "0"]).labels == (0, 1)


def test_unknown_names(data: Path) -> None:
    message = refusal(data, "path,label\na.mp4,jumping\ne.avi,run\n", class_names=["jump", "run"])
    assert message.endswith("line 2: 'jumping' is not among the class names: did you mean 'jump'?")


def test_capitals_and_underscores_do_not_matter(data: Path) -> None:
    file = written(data, "path,label\na.mp4,Tai_Chi\ne.avi,run\n")
    assert read_annotations(data, file, class_names=["run", "tai chi"]).labels == (1, 0)
    assert "'Tai_Chi' is not among" in refusal(
        data, file.read_text(), class_names=["run", "tai chi", "tai_chi"]
    )  # which of the two?


# Class folders


def class_folders(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_class_folders(tmp_path: Path) -> None:
    root = class_folders(
        tmp_path / "set", "run/b.MP4", "run/deep/a.webm", "jump high/x.mp4", "run/notes.txt", ".hidden/x.mp4", "README"
    )
    found = read_annotations(root)
    assert found == LabelledVideos(
        root, ("jump high/x.mp4", "run/b.MP4", "run/deep/a.webm"), (0, 1, 1), ("jump high", "run"), True
    )
    assert read_annotations(root, class_names=["run", "jump high"]).labels == (1, 0, 0)
    with pytest.raises(AnnotationError, match=r"jump high/x\.mp4: 'jump high' is not among the class names: did you"):
        read_annotations(root, class_names=["run", "jump higher"])


def test_class_folders_are_walked_as_all_folders_of_videos(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", "a/x.mp4", "a/._x.mp4", "a/.trash/y.mp4", "b/z.3gp", "._a.mp4")
    class_folders(tmp_path / "elsewhere", "w.mp4")
    os.symlink(tmp_path / "elsewhere", root / "b" / "more")
    os.symlink(root / "b", root / "b" / "itself")
    assert read_annotations(root).paths == ("a/x.mp4", "b/more/w.mp4", "b/z.3gp")


def test_folders_called_by_numbers_are_the_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", "0/a.mp4", "10/b.mp4", "2/c.mp4")
    found = read_annotations(root)
    assert (found.labels, found.class_names, found.labels_are_names) == ((0, 10, 2), None, False)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["a/x.mp4", "b/notes.txt"], "b: no video in this class folder (looked for .3gp, "),
        (["a/x.mp4", "b/y.mp4", "z.mp4"], "z.mp4: lies beside the class folders, not in one"),
        (["a/x.mp4", "a/y.mp4"], "all 2 videos are of one class, 'a'"),
        (["x.mp4"], "no class folders in it: give an annotation file, or a folder for every class"),
    ],
)
def test_mistakes_in_class_folders(tmp_path: Path, files: list[str], problem: str) -> None:
    root = class_folders(tmp_path / "set", *files)
    with pytest.raises(AnnotationError) as caught:
        read_annotations(root)
    assert problem in str(caught.value)


# Files of class names


@pytest.mark.parametrize("text", ["jump\n run \n\nsit, slowly", 'id,name\n0,jump\n1,run\n2,"sit, slowly"\n'])
def test_class_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    assert read_class_names(tmp_path / "classes.txt") == ("jump", "run", "sit, slowly")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no class names: write one a line"),
        ("jump\nrun\njump\n", "line 3: 'jump' stands in line 1 too"),
        ("id,name\n1,jump\n", "line 2: '1,jump' is not `0,name`"),
        ("id,name\n", "no class names"),
    ],
)
def test_bad_class_names(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(AnnotationError, match=rf"classes\.txt.*{problem}"):
        read_class_names(tmp_path / "classes.txt")


# A part of them


def test_a_part_is_spread_over_all() -> None:
    videos = LabelledVideos(Path(), tuple(f"{number}.mp4" for number in range(10)), tuple(range(10)))
    assert videos.spread(4).labels == (0, 2, 5, 7)
    assert videos.spread(4).paths == ("0.mp4", "2.mp4", "5.mp4", "7.mp4")
    assert videos.spread(10) == videos.spread(11) == videos
    with pytest.raises(ValueError, match="0 videos are too few"):
        videos.spread(0)
