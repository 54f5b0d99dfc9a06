"""Reading a folder: what is a document, what is left out and why, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vbl.agents import extract
from vbl.agents.extract import Unreadable, survey
from vbl.errors import UsageError
from vbl.history.retry import Kind, kind_of


def left_out(folder: Path) -> dict[str, str]:
    return {file.name: file.reason for file in survey(folder).left_out}


def test_documents_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "C.rst"):
        (tmp_path / name).write_text("Some words.")
    (tmp_path / ".hidden").write_text("Some words.")
    (tmp_path / "subfolder").mkdir()
    assert survey(tmp_path).documents == ["C.rst", "a.md", "b.txt"]
    assert survey(tmp_path).left_out == []


def test_what_is_no_text_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("Some words.")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "office.docx").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "blank.txt").write_text(" \n\t\n---\n")
    (tmp_path / "broken-link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    reasons = left_out(tmp_path)
    assert survey(tmp_path).documents == ["good.txt"]
    assert reasons["photo.jpg"] == "it is binary, not text"
    assert "PDF" in reasons["paper.pdf"]
    assert "office file" in reasons["office.docx"]
    assert "byte 0xe9 at 3" in reasons["latin.txt"]
    assert "iconv" in reasons["latin.txt"]
    assert reasons["empty.txt"] == "it is empty"
    assert reasons["blank.txt"] == "there is no word in it"
    assert reasons["broken-link"] == "it leads nowhere"
    assert reasons["pipe"] == "it is not a regular file"


def test_socket_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(UsageError, match="not a regular file"):
            survey(".")


def test_too_large_and_too_many_are_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "MAX_DOCUMENTS", 2)
    (tmp_path / "0-large.txt").write_bytes(b"word " * (extract.MAX_BYTES // 5 + 1))
    for number in range(1, 5):
        (tmp_path / f"{number}.txt").write_text("Some words.")
    assert survey(tmp_path).documents == ["1.txt", "2.txt"]
    assert "larger than 2 MB" in left_out(tmp_path)["0-large.txt"]
    assert left_out(tmp_path)["4.txt"] == "only the first 2 documents are read"


def test_file_name_that_is_not_utf8_is_left_out_and_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("Some words.")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("Some words.")
    assert left_out(tmp_path) == {"caf\\xe9.txt": "the file's name is not UTF-8"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none", "There is no folder"),
        (lambda folder: folder, "holds no file"),
        (lambda folder: folder / ("x" * 300), "can't be read: File name too long"),
        (lambda folder: f"{folder}/\0", "can't be read: "),
    ],
)
def test_folder_that_cannot_be_used_is_a_usage_error(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=message) as caught:
        survey(make(tmp_path))
    assert caught.value.hint
    assert str(caught.value).encode()


def test_a_file_is_not_a_folder_and_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some words.")
    with pytest.raises(UsageError, match="is a file, not a folder") as caught:
        survey(tmp_path / "a.txt")
    assert str(tmp_path) in caught.value.hint


def test_folder_without_a_single_text_says_what_each_file_is(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.bin").write_bytes(b"\0\1")
    with pytest.raises(UsageError, match=r"0.bin: it is binary, not text; 1.bin: .*; and 3 more"):
        survey(tmp_path)


def test_forbidden_folder_and_file_are_named(tmp_path: Path) -> None:
    """Permissions do not bind the superuser, so this is tried as somebody else where he runs the tests."""
    (tmp_path / "locked").mkdir(mode=0o000)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.txt").write_text("Some words.")
    (tmp_path / "mixed" / "b.txt").write_text("Some words.")
    (tmp_path / "mixed" / "b.txt").chmod(0o000)
    code = (
        "import encodings.utf_8_sig, os, sys\n"
        "from vbl.agents import extract\n"
        "os.chdir(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(*[file.reason for file in extract.survey('mixed').left_out])\n"
        "try: extract.survey('locked')\n"
        "except extract.UsageError as error: print(error.message)\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "it can't be read: Permission denied",
        "The folder locked can't be read: Permission denied",
    ], done.stderr


def test_unreadable_is_not_worth_a_second_try(tmp_path: Path) -> None:
    with pytest.raises(Unreadable) as caught:
        extract.read(tmp_path / "gone.txt")
    assert kind_of(caught.value) is Kind.PERMANENT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_with_and_without_mark_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße aus Köln\r\nund mehr".encode(encoding))
    document = extract.read(tmp_path / "a.txt")
    assert (document.title, document.text, document.words) == ("Grüße aus Köln", "Grüße aus Köln\nund mehr", 5)


def test_html_loses_its_tags_and_scripts(tmp_path: Path) -> None:
    page = "<!DOCTYPE html><html><head><title>x</title><style>p{}</style></head><body><h1>Big &amp; small</h1>"
    page += "<p>First <b>bold</b>\n words.</p><script>var no = 1</script><p>Second.</p></body></html>"
    (tmp_path / "a.html").write_text(page)
    document = extract.read(tmp_path / "a.html")
    assert document.text == "# Big & small\n\nFirst bold words.\n\nSecond."
    assert document.title == "Big & small"


@pytest.mark.parametrize(
    ("text", "title"),
    [("\n\n# A *title*\n\nText.", "A *title*"), ("---\nname", "name"), ("w" * 150, "w" * 99 + "…")],
)
def test_title_is_the_first_line_with_words(tmp_path: Path, text: str, title: str) -> None:
    (tmp_path / "a.md").write_text(text)
    assert extract.read(tmp_path / "a.md").title == title
