"""Reading documents from a folder: which files are texts, what is in them, and why another was left out.

A document is any regular file directly in the folder whose bytes are UTF-8 (or UTF-16 with its mark) and words;
HTML loses its tags. Nothing is guessed: a file in another encoding is left out and named. Summarising does not
belong here.
"""

from __future__ import annotations

import codecs
import os
import re
from html.parser import HTMLParser
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vbl.errors import UsageError, VblError
from vbl.history.retry import Kind

SHIPPED = Path(__file__).parent / "texts"
"""The documents that the package ships."""
MAX_DOCUMENTS = 50
MAX_BYTES = 2 * 1024 * 1024
TITLE_LENGTH = 100


class LeftOut(BaseModel):
    """A file that is not read, and why."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str


class Survey(BaseModel):
    """What a folder holds: the names of the documents in order, and the files that are left out."""

    model_config = ConfigDict(frozen=True)

    folder: str
    documents: list[str]
    left_out: list[LeftOut]


class Document(BaseModel):
    """The text of one file."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    words: int
    text: str


class Unreadable(VblError):
    """A file is no text that vbl reads. Trying again would not help, and `kind` says so."""

    code = "unreadable"
    kind = Kind.PERMANENT


def survey(folder: str | os.PathLike[str]) -> Survey:
    """Look through a folder. Raises UsageError if it can't be read or holds no document."""
    names = _file_names(Path(folder))
    documents: list[str] = []
    left_out: list[LeftOut] = []
    for name in names:
        if len(documents) == MAX_DOCUMENTS:
            left_out.append(LeftOut(name=_shown(name), reason=f"only the first {MAX_DOCUMENTS} documents are read"))
            continue
        try:
            read(Path(folder) / name)
        except Unreadable as error:
            left_out.append(LeftOut(name=_shown(name), reason=error.message))
        else:
            documents.append(name)
    if not documents:
        raise _nothing_to_read(folder, left_out)
    return Survey(folder=str(folder), documents=documents, left_out=left_out)


def read(path: str | os.PathLike[str]) -> Document:
    """Read one document. Raises Unreadable, whose message names no path: `name` is known to the caller."""
    path = Path(path)
    if _shown(path.name) != path.name:
        raise Unreadable("the file's name is not UTF-8")
    text = _decode(_bytes_of(path)).replace("\r\n", "\n").replace("\r", "\n")
    if re.search(r"(?is)\A\s*(<!doctype html|<html)", text):
        text = _without_tags(text)
    words = len(re.findall(r"\w+", text))
    if not words:
        raise Unreadable("there is no word in it")
    return Document(name=path.name, title=_title(text) or path.stem, words=words, text=text)


def _file_names(folder: Path) -> list[str]:
    """The files of a folder in the order of their names, hidden ones and subfolders aside."""
    shown = _shown(folder)
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    except FileNotFoundError:
        raise UsageError(f"There is no folder {shown}", "Name a folder that holds text files") from None
    except NotADirectoryError:
        parent = _shown(folder.parent)
        raise UsageError(f"{shown} is a file, not a folder", f"Name the folder that it is in: {parent}") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"The folder {shown} can't be read: {why}", "Check its permissions: ls -ld FOLDER") from error


def _nothing_to_read(folder: str | os.PathLike[str], left_out: list[LeftOut]) -> UsageError:
    shown = _shown(folder)
    if not left_out:
        return UsageError(f"The folder {shown} holds no file", "Put text files into it; subfolders are not searched")
    listed = "; ".join(f"{file.name}: {file.reason}" for file in left_out[:5])
    more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    return UsageError(
        f"No file in {shown} is a text that vbl reads ({listed}{more})", "Texts are UTF-8: .txt, .md, .html"
    )


def _shown(name: str | os.PathLike[str]) -> str:
    """The name as it can be printed and stored; bytes that are no UTF-8 are shown as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _bytes_of(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise Unreadable("it is not a regular file" if path.exists() else "it leads nowhere")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"it can't be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise Unreadable(f"it is larger than {MAX_BYTES // (1024 * 1024)} MB")
    if not content:
        raise Unreadable("it is empty")
    return content


_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
"""What no text in UTF-8, nor in any encoding of one byte, has in it."""
_KNOWN_BINARIES = {b"%PDF": "a PDF", b"PK\x03\x04": "an archive or an office file", b"{\\rtf": "an RTF file"}


def _decode(content: bytes) -> str:
    for start, what in _KNOWN_BINARIES.items():
        if content.startswith(start):
            raise Unreadable(f"it is {what}; save it as text first")
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        if _CONTROL.search(content, 0, 4096):
            raise Unreadable("it is binary, not text")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte 0x{content[error.start]:02x} at {error.start}"
        raise Unreadable(f"it is not UTF-8 ({where}); convert it: iconv -f latin1 -t utf-8") from error


def _title(text: str) -> str:
    """The first line that has words, without the marks of a heading."""
    for line in text.splitlines():
        if re.search(r"\w", line):
            line = line.strip().lstrip("#=*- ").strip()
            return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
    return ""


class _Words(HTMLParser):
    """Collects the words of a page: a break for each block, a # before each heading."""

    SILENT = frozenset({"script", "style", "head", "template", "noscript"})
    BLOCKS = frozenset({"p", "div", "br", "li", "tr", "section", "article", "blockquote", "pre", "table", "ul", "ol"})

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self.SILENT
        if re.fullmatch("h[1-6]", tag):
            self.pieces.append("\n\n# ")
        elif tag in self.BLOCKS:
            self.pieces.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in self.SILENT and self._silent > 0
        if tag in self.BLOCKS or re.fullmatch("h[1-6]", tag):
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(re.sub(r"\s+", " ", data))


def _without_tags(page: str) -> str:
    parser = _Words()
    parser.feed(page)
    parser.close()
    return re.sub(r"\n\s*\n+", "\n\n", "".join(parser.pieces)).strip()
