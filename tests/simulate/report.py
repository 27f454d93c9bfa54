from typing import Any


def write(results: Any, folder: Any) -> None: ...
