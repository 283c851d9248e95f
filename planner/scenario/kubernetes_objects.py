"""Kubernetes objects from files, folders and lists, each a document of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from planner.errors import Fault, InputError
from planner.scenario.documents import (
    Document,
    Loc,
    json_data,
    parse_documents,
    read_text,
    stream_text,
)
from planner.scenario.faults import FaultLog
from planner.scenario.yaml_text import plain_data

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"


class ListItem(Document):
    """An object of a List, as ``kubectl get -o yaml`` writes it."""

    def __init__(self, document: Document, index: int) -> None:
        super().__init__(file=document.file, data=document.data["items"][index], text="")
        self._source = document
        self._index = index

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of the object."""
        return self._source.fault(("items", self._index, *loc), message)


def in_lists(documents: Iterable[Document], log: FaultLog) -> Iterator[Document]:
    """Yield every object of documents, those inside Lists one by one; doubled fields are noted."""
    for document in documents:
        log.order(document)
        log.extend(document.faults)
        data = document.data
        items = data.get("items") if isinstance(data, dict) else None
        if isinstance(items, list) and str(data.get("kind")).endswith("List"):
            yield from (ListItem(document, index) for index in range(len(items)))
        else:
            yield document


def read_objects(paths: Iterable[str], *, stdin: BinaryIO | None, log: FaultLog) -> Iterator[Document]:
    """Yield the objects of files and folders in their order; what is no object is noted as a fault.

    Parameters
    ----------
    paths
        Files of YAML or JSON, folders whose files of these are read with those of all folders in them, and
        ``-``.
    stdin
        What ``-`` stands for; None where it is closed.
    log
        Where faults are noted.
    """
    for path in paths:
        for name, text in _texts(path, stdin=stdin, log=log):
            try:
                documents = _parsed(text, file=name)
            except InputError as error:
                log.extend(error.faults)
                continue
            for document in in_lists(documents, log):
                if isinstance(document.data, dict) and isinstance(document.data.get("kind"), str):
                    yield document
                else:
                    log.add(document, ("kind",), "is required: this is not a Kubernetes object")


def stdin_text(stdin: BinaryIO | None) -> str:
    """Return what ``-`` stands for.

    Raises
    ------
    InputError
        It is closed, or no text.
    """
    if stdin is None:
        raise InputError([Fault(path="", file="<stdin>", message="is closed")])
    return stream_text(stdin, file="<stdin>")


def _texts(path: str, *, stdin: BinaryIO | None, log: FaultLog) -> Iterator[tuple[str, str]]:
    """Yield the texts under a path with the names that faults report."""
    try:
        if path == STDIN:
            yield "<stdin>", stdin_text(stdin)
        elif Path(path).is_dir():
            found = [
                item for item in sorted(Path(path).rglob("*")) if item.suffix in SUFFIXES and item.is_file()
            ]
            if not found:
                log.extend([Fault(path="", file=path, message="holds no .yaml, .yml or .json file")])
            for item in found:
                yield str(item), read_text(item, file=str(item))
        else:
            yield path, read_text(Path(path), file=path)
    except InputError as error:
        log.extend(error.faults)


def _parsed(text: str, *, file: str) -> list[Document]:
    """Return the documents of a text; one that is plain is read many times as fast as by its nodes."""
    data = json_data(text)
    if data is None and "&" not in text:
        data = plain_data(text)
    if data is not None:
        return [Document(file=file, data=data, text=text)]
    return parse_documents(text, file=file)
