"""Reading one step ahead: the next batch is decoded while this one is coded."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items in order, taken by a second thread at most `depth` ahead; its errors come through."""
    waiting: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(what: str, item: Item | BaseException | None) -> None:
        while not stop.is_set():
            try:
                waiting.put((what, item), timeout=0.1)
                return
            except queue.Full:
                continue

    def take() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    return
            put("end", None)
        except BaseException as problem:
            put("error", problem)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        while True:
            what, item = waiting.get()
            if what == "error":
                assert isinstance(item, BaseException)
                raise item
            if what == "end":
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
