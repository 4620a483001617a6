"""Inputs of an extraction: which videos they name, what these are called, and how mistakes are answered."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_files import write_shard

from ila_models.data.labels import AnnotationError
from ila_models.extraction.inputs import find_videos
from ila_models.extraction.item_names import safe_name
from ila_models.extraction.items import VideoItem
from ila_models.extraction.tables import videos_of_list, videos_of_table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*paths: str | Path) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: str, text: str | bytes) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found(*inputs: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Files and names, of videos that are files of their own and whole."""
    items = list(find_videos(inputs))
    assert items == [VideoItem(file=item.file, name=item.name) for item in items]
    return [(item.file, item.name) for item in items]


def segments(table: str) -> list[tuple[str, str, float | None, float | None]]:
    return [(item.file, item.name, item.start, item.end) for item in find_videos([table])]


def refusal(*inputs: str, kind: type[Exception] = AnnotationError) -> str:
    with pytest.raises(kind) as caught:
        list(find_videos(inputs))
    return str(caught.value)


# Files and addresses


def test_files_of_any_suffix_in_the_order_given() -> None:
    touch("b/clip.two.MP4", "a.bin", "plain")
    assert found("b/clip.two.MP4", Path("a.bin"), "./plain") == [
        ("b/clip.two.MP4", "clip.two"),
        ("a.bin", "a"),
        ("./plain", "plain"),
    ]


def test_inputs_are_looked_at_one_after_the_other() -> None:
    touch("a.mp4")
    videos = find_videos(["a.mp4", "missing.mp4"])
    assert next(videos).name == "a"
    with pytest.raises(FileNotFoundError):
        next(videos)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host.org/a/clip.v2.mp4?token=x/y.mp4#t=3", "clip.v2"),
        ("HTTP://host.org/Caf%C3%A9%20one.webm", "Café one"),
        ("https://host.org/o/train%2Fclip.mp4", "clip"),
        ("https://host.org/a/b/", "b"),
        ("https://host.org/a/%2e%2e", "video"),
        ("https://host.org/a%00%FF.mp4", "a_\\udcff"),
        ("https://name:secret@host.org:8080", "host.org"),
        ("https://", "video"),
        ("http://[not-an-address/a.mp4", "video"),
    ],
)
def test_addresses_are_named_by_their_last_part(address: str, name: str) -> None:
    assert found(address) == [(address, name)]


def test_what_is_not_there_is_named_with_what_may_be_given(here: Path) -> None:
    told = refusal("missing.mp4", kind=FileNotFoundError)
    assert told.startswith(f"no such input: 'missing.mp4' (looked in {here}): give a video file, a folder of videos")
    assert "LIST.txt, TABLE.csv, SHARD.tar or an http(s) address" in told
    assert "wildcard" not in told
    assert "no such input: ''" in refusal("", kind=FileNotFoundError)
    assert "'s3://bucket/a.mp4'" in refusal("s3://bucket/a.mp4", kind=FileNotFoundError)
    assert refusal("s-{000..127}.tar", kind=FileNotFoundError).endswith("; write {000..127} as a wildcard, *")


@pytest.mark.parametrize("path", ["clips", Path("clips")])
def test_one_path_is_not_a_list_of_letters(path: str | Path) -> None:
    with pytest.raises(TypeError, match="inputs='clips' is one input: give a list of them"):
        next(find_videos(path))  # type: ignore[arg-type]


# Folders


def test_a_folder_is_walked_in_order_without_what_is_hidden() -> None:
    touch("data/b/2.mp4", "data/b/10.MKV", "data/a.webm", "data/c/d/x.y.mov", "data/b.avi", "data/c/notes.txt")
    touch("data/.trash/1.mp4", "data/b/._2.mp4", "data/c/video", "data/folder.mp4/7.ts")
    expected = [
        ("data/a.webm", "a"),
        ("data/b/10.MKV", "b/10"),
        ("data/b/2.mp4", "b/2"),
        ("data/b.avi", "b"),
        ("data/c/d/x.y.mov", "c/d/x.y"),
        ("data/folder.mp4/7.ts", "folder.mp4/7"),
    ]
    assert found("data") == expected
    assert found("data/") == expected
    assert found("data/.trash") == [("data/.trash/1.mp4", "1")]


def test_the_working_directory_and_an_absolute_folder(here: Path) -> None:
    touch("a/1.mp4")
    assert found(".") == [("./a/1.mp4", "a/1")]
    assert found(here) == [(f"{here}/a/1.mp4", "a/1")]


def test_links_are_followed_but_not_in_circles() -> None:
    touch("elsewhere/2.mp4", "data/a/1.mp4")
    os.symlink("../elsewhere", "data/b")
    os.symlink("../../data", "data/a/up")
    os.symlink("../data/a", "elsewhere/a")
    os.symlink("itself", "data/itself")
    os.symlink("../gone", "data/gone")
    os.symlink("../elsewhere/2.mp4", "data/z.mp4")
    assert [name for _, name in found("data")] == ["a/1", "b/2", "b/a/1", "z"]


def test_videos_of_a_folder_are_not_stat_ed(monkeypatch: pytest.MonkeyPatch) -> None:
    touch(*(f"data/{folder}/{number}.mp4" for folder in range(2) for number in range(20)))
    looked_at: list[object] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path: looked_at.append(path) or stat(path))
    monkeypatch.setattr(os.path, "isdir", lambda path: looked_at.append(path) or path == "data")
    assert len(found("data")) == 40
    assert looked_at == ["data", "data/", "data/0", "data/1"]


def test_a_folder_without_videos() -> None:
    touch("data/notes.txt", "data/.hidden.mp4")
    told = refusal("data", kind=FileNotFoundError)
    assert told.startswith("no video in the folder data (looked for .3gp, ")
    assert told.endswith("and not into hidden files and folders)")


def test_a_folder_that_may_not_be_read_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("data/a/1.mp4", "data/b/2.mp4")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert "'data/b'" in refusal("data", kind=PermissionError)


def test_bytes_that_are_no_text_stay_in_the_file_and_leave_the_name(here: Path) -> None:
    file = os.fsdecode(b"data/caf\xe9\n.mp4")
    touch(file)
    for way in (file, "data", "data/*.mp4"):
        assert found(way) == [(file, "caf\\udce9_")]
    assert Path(file).exists()


# Patterns


def test_a_pattern_of_files_and_folders() -> None:
    touch("data/b.mp4", "data/a/x/1.mp4", "data/a/readme.md", "data/empty/readme.md", "data/c.bin", "data/.d.mp4")
    write_shard(Path("data/s.tar"), {"m.mp4": b"m"})
    assert [(item.file, item.name) for item in find_videos(["data/*"])] == [
        ("data/a/x/1.mp4", "x/1"),
        ("data/b.mp4", "b"),
        ("data/s.tar:m.mp4", "m"),
    ]
    assert found("data/?.mp4", "data/[a-b].mp4") == [("data/b.mp4", "b")] * 2


def test_only_videos_and_tars_that_match_are_taken() -> None:
    touch("data/a.mp4", "data/a.clip.npy")
    write("data/a.txt", "b.mp4\n")
    assert found("data/a*") == [("data/a.mp4", "a")]
    assert "no video among what matches data/a.t*" in refusal("data/a.t*", kind=FileNotFoundError)


def test_a_recursive_pattern_takes_every_video_once() -> None:
    touch("data/b/1.mp4", "data/b/c/2.mp4", "data/3.mp4", "data/b/notes.md")
    every = [("data/3.mp4", "3"), ("data/b/1.mp4", "b/1"), ("data/b/c/2.mp4", "b/c/2")]
    assert found("data/**") == every
    assert found("data/**/*.mp4") == [("data/3.mp4", "3"), ("data/b/1.mp4", "1"), ("data/b/c/2.mp4", "2")]
    assert found("data/**/*") == [("data/3.mp4", "3"), ("data/b/1.mp4", "1"), ("data/b/c/2.mp4", "c/2")]


def test_a_file_whose_name_looks_like_a_pattern() -> None:
    touch("clip[1].mp4", "clip1.mp4")
    assert found("clip[1].mp4") == [("clip[1].mp4", "clip[1]")]


def test_patterns_that_find_nothing(here: Path) -> None:
    told = refusal("data/*.mp4", kind=FileNotFoundError)
    assert told == f"no file or folder matches data/*.mp4 (looked in {here})"
    assert "; write {000..127}" in refusal("s-{0..9}-*.tar", kind=FileNotFoundError)
    touch("data/a/readme.md")
    assert "no video among what matches data/*" in refusal("data/*", kind=FileNotFoundError)


# Lists


def test_a_list_of_paths_and_addresses() -> None:
    lines = "\ufeff a/1.x.mp4\r\n\n# a comment\n  # another\n./b//2.mp4\n../../c/3\nhttps://h.org/4.mp4?x\ns3://b/5.mp4\n..\n"
    assert found(write("lists/val.TXT", lines)) == [
        ("lists/a/1.x.mp4", "a/1.x"),
        ("lists/./b//2.mp4", "b/2"),
        ("lists/../../c/3", "c/3"),
        ("https://h.org/4.mp4?x", "4"),
        ("s3://b/5.mp4", "5"),
        ("lists/..", "video"),
    ]
    assert found(write("here.txt", "a.mp4")) == [("a.mp4", "a")]


def test_absolute_paths_are_named_from_the_folder_that_holds_all() -> None:
    lines = "/data/train/a/1.mp4\nb/2.mp4\n/data/train/a-b/3.mp4\n/data/train/x/../4.mp4\n"
    assert found(write("list.txt", lines)) == [
        ("/data/train/a/1.mp4", "a/1"),
        ("b/2.mp4", "b/2"),
        ("/data/train/a-b/3.mp4", "a-b/3"),
        ("/data/train/x/../4.mp4", "4"),
    ]
    assert found(write("one.txt", "/data/train/a/1.mp4\n")) == [("/data/train/a/1.mp4", "1")]
    assert found(write("two.txt", "/data/1.mp4\n/other/2.mp4\n")) == [
        ("/data/1.mp4", "data/1"),
        ("/other/2.mp4", "other/2"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n# a.mp4\n", "list.txt: no video in it: write a path or an address a line"),
        (b"a\xe9.mp4\n", r"list.txt: not UTF-8 text \(byte 1\): save it as UTF-8"),
        (b"a\0.mp4\n", "list.txt: not a text file, it has zero bytes"),
    ],
)
def test_files_that_are_no_lists(content: str | bytes, message: str) -> None:
    assert re.fullmatch(message, refusal(write("list.txt", content)))


# Tables


def test_a_table_of_segments() -> None:
    table = write(
        "sets/val.csv",
        "\ufeffLabel, Video ,START,end_time\nrun,a/clip.mp4,12,15.5\nrun,a/clip.mp4,,15.5\n\nrun,a/clip.mp4,12.0004,\n"
        'sit,"b,c.mp4",,\nsit,https://h.org/d.mp4?x,-0,1e1\n',
    )
    assert segments(table) == [
        ("sets/a/clip.mp4", "a/clip_12.000_15.500", 12.0, 15.5),
        ("sets/a/clip.mp4", "a/clip_0.000_15.500", None, 15.5),
        ("sets/a/clip.mp4", "a/clip_12.000_end", 12.0004, None),
        ("sets/b,c.mp4", "b,c", None, None),
        ("https://h.org/d.mp4?x", "d_0.000_10.000", 0.0, 10.0),
    ]


def test_a_table_of_whole_videos_and_absolute_paths() -> None:
    assert found(write("a.CSV", "path\n/data/x/1.mp4\n/data/2.mp4\n")) == [
        ("/data/x/1.mp4", "x/1"),
        ("/data/2.mp4", "2"),
    ]


def test_names_of_a_table_are_taken_as_they_are_but_never_lead_elsewhere() -> None:
    table = write("t.csv", "id,file,start_seconds\nv1.0,a.mp4,3\n../../etc/x,a.mp4,\n/,c.mp4,\n,b.mp4,1\n")
    assert segments(table) == [
        ("a.mp4", "v1.0", 3.0, None),
        ("a.mp4", "etc/x", None, None),
        ("c.mp4", "video", None, None),
        ("b.mp4", "b_1.000_end", 1.0, None),
    ]
    both = write("both.csv", "id,name,path\n7,seven,a.mp4\n")
    assert found(both) == [("a.mp4", "seven")]


def test_all_problems_of_a_table_are_told_with_their_lines() -> None:
    rows = ["a.mp4,x,2", "a.mp4,-1,inf", "a.mp4,1:20,", ",1,2", "a.mp4,2,2", "a.mp4,,0", "a.mp4,1", "a.mp4,nan,3"]
    told = refusal(write("t.csv", "\n".join(["path,start,end", *rows, "good.mp4,1,2"]))).split("\n")
    assert told[0] == "t.csv: 9 problems:"
    number = "is not a number of seconds from 0 on, such as 12.5"
    assert [line.strip() for line in told[1:]] == [
        f"line 2: the start, 'x', {number}",
        f"line 3: the start, '-1', {number}",
        f"line 3: the end, 'inf', {number}",
        f"line 4: the start, '1:20', {number}",
        "line 5: the path is empty",
        "line 6: the end, 2, is not after the start, 2",
        "line 7: the end, 0, is not after the start, 0",
        "line 8: 2 fields, the first line has 3: put a field with commas in quotes",
        f"line 9: the start, 'nan', {number}",
    ]


@pytest.mark.parametrize("read", [videos_of_list, videos_of_table])
def test_a_list_or_table_that_is_not_there_or_is_a_folder(read: Callable[[str], Iterator[VideoItem]]) -> None:
    with pytest.raises(FileNotFoundError, match=r"^no such file: gone\.txt$"):
        next(read("gone.txt"))
    Path("folder.txt").mkdir()
    with pytest.raises(AnnotationError, match=r"^folder\.txt is a folder: give a text file$"):
        next(read("folder.txt"))


def test_a_segment_that_stands_twice_is_a_problem() -> None:
    told = refusal(write("t.csv", "path,start,end,name\na.mp4,1,3,x\na.mp4,1,3,y\na.mp4,1,4,z\nb.mp4,,,\nb.mp4,,,\n"))
    assert "a.mp4: seconds 1 to 3 stand in 2 rows: write each segment once" in told
    assert "b.mp4: seconds 0 to the end stand in 2 rows" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "clip,start\na.mp4,1\n",
            "t.csv, line 1: no column of paths: name one of clip, start path or file or filename",
        ),
        ("\npath,video\na,b\n", "t.csv, line 2: the columns path, video say the same: leave one of them"),
        ("path,start,start_time\na,1,2\n", "t.csv, line 1: the columns start, start_time say the same"),
        ("path,name,name\na,1,2\n", "t.csv, line 1: the columns name, name say the same"),
        ('path\n"a.mp4\n', "t.csv, line 2: not CSV: unexpected end of data"),
        ("path,start\n", "t.csv: no video in it: write a line `path,start,end`"),
        ("", "t.csv: no video in it"),
    ],
)
def test_tables_that_cannot_be_read(text: str, message: str) -> None:
    assert refusal(write("t.csv", text)).startswith(message)


# Tar files


def test_videos_of_a_tar_file_with_their_places() -> None:
    members = {"a/7.left.mp4": b"seven", "a/7.cls": "1", "8.MKV": b"eight!!", "8.json": "{}", "9.jpg": b"no"}
    Path("sets").mkdir()
    tar = str(write_shard(Path("sets/s-0.tar"), members))
    items = list(find_videos([tar]))
    assert [(item.file, item.name) for item in items] == [
        ("sets/s-0.tar:a/7.left.mp4", "a/7.left"),
        ("sets/s-0.tar:8.MKV", "8"),
    ]
    content = Path(tar).read_bytes()
    assert [content[item.offset :][: item.size] for item in items] == [b"seven", b"eight!!"]
    assert {item.tar for item in items} == {tar}


def test_several_tar_files_by_a_pattern() -> None:
    for number in (1, 0):
        write_shard(Path(f"s-{number}.tar"), {"0.mp4": b"x", f"{number}/1.mp4": b"y"})
    assert [item.name for item in find_videos(["s-*.tar"])] == ["0", "0/1", "0", "1/1"]


def test_member_names_never_lead_elsewhere() -> None:
    members = {"/abs/1.mp4": b"1", "../../2.mp4": b"2", "./3.mp4": b"3", "a/../4.mp4": b"4", "..mp4": b"5"}
    tar = write_shard(Path("s.tar"), {**members, "caf\udce9.mp4": b"6"})
    items = list(find_videos([tar]))
    assert [item.name for item in items] == ["abs/1", "2", "3", "4", "caf\\udce9"]
    assert items[-1].file == "s.tar:caf\udce9.mp4"


def test_hidden_members_are_not_taken() -> None:
    write_shard(Path("s.tar"), {"a/1.mp4": b"1", "a/._1.mp4": b"attributes", ".2.mp4": b"2", "./3.mp4": b"3"})
    assert [item.name for item in find_videos(["s.tar"])] == ["a/1", "3"]


def test_links_folders_and_sparse_members_are_not_taken() -> None:
    write_shard(Path("s.tar"), {"a.mp4": b"a"})
    with tarfile.open("s.tar", "a") as archive:
        for name, kind in (("l.mp4", tarfile.SYMTYPE), ("h.mp4", tarfile.LNKTYPE), ("d.mp4", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.mp4" if kind != tarfile.DIRTYPE else ""
            archive.addfile(info)
        sparse = tarfile.TarInfo("sparse.mp4")
        sparse.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "4000", "GNU.sparse.numblocks": "1"}
        sparse.size = 4
        archive.addfile(sparse, io.BytesIO(b"head"))
        last = tarfile.TarInfo("z.mp4")
        archive.addfile(last)
    assert [item.name for item in find_videos(["s.tar"])] == ["a", "z"]
    write("damaged.tar", Path("s.tar").read_bytes().replace(b"GNU.sparse.map=0,4", b"GNU.sparse.map=0,x"))
    assert "damaged.tar: no uncompressed tar file, or cut off (invalid literal" in refusal("damaged.tar")


def test_tar_files_that_are_cut_off_at_any_place() -> None:
    whole = write_shard(Path("whole.tar"), {"0.mp4": bytes(700), "1.mp4": b"\1" * 700}).read_bytes()
    end = 2 * (512 + 1024)
    for length in (0, 100, 512, 1000, 1536, 1600, 2048, 2600, end - 1, end, end + 511):
        Path("cut.tar").write_bytes(whole[:length])
        assert "cut.tar: no uncompressed tar file, or cut off (" in refusal("cut.tar"), length
    Path("cut.tar").write_bytes(whole[: end + 512])
    assert len(list(find_videos(["cut.tar"]))) == 2
    Path("cut.tar").write_bytes(whole[:1536] + b"\xff" * 512 + whole[2048:])
    assert "at byte 1,536 there is neither a member nor the end" in refusal("cut.tar")


@pytest.mark.parametrize(
    ("name", "mode"), [("s.tar", "w:gz"), ("s.tar.gz", "w:gz"), ("s.TGZ", "w:gz"), ("s.tar.xz", "w:xz")]
)
def test_compressed_tar_files_are_refused(name: str, mode: str) -> None:
    write_shard(Path(name), {"0.mp4": b"a"}, mode=mode)
    assert f"{name}: no uncompressed tar file" in refusal(name)


def test_a_tar_file_without_videos() -> None:
    write_shard(Path("s.tar"), {"0.txt": b"a"})
    assert refusal("s.tar").startswith("s.tar: no video in it (looked for .3gp, ")


# Names


@given(st.text(alphabet=st.one_of(st.sampled_from("/.\\\n\x7f\x85\u2028\udcff a"), st.characters())))
def test_any_text_makes_a_name_that_is_safe(text: str) -> None:
    name = safe_name(text)
    assert not {"", ".", ".."} & set(name.split("/"))
    assert len(name.splitlines()) == 1
    assert "\0" not in name
    assert Path("/out", name).resolve().is_relative_to("/out")
    assert name.encode().decode() == name
    assert safe_name(name) == name


def test_names_that_are_good_stay_as_they_are() -> None:
    names: Sequence[str] = ("a", "a/b c/d.e", "..a", "видео/①", "a\\b", "~", "-x", ".hidden")
    assert [safe_name(name) for name in names] == list(names)
