# pandas' own annotations leave almost every result a union; a checker then objects to all uses.
from typing import Any

def __getattr__(name: str) -> Any: ...
