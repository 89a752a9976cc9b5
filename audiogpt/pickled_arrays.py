"""Arrays as a pickle describes them: numpy itself is asked to build none of them.

numpy's builders trust the state that a pickle hands them, and a damaged or hostile one crashes the
process. These stand in their place: they keep what the pickle says, run nothing, and make an array
of it where kind, size and shape fit together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOATS = ("f2", "f4", "f8")


class PickledKind:
    """In the place of numpy's dtype: a code such as "f4", and the byte order."""

    def __init__(self, code: Any = None, *_flags: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class PickledArray:
    """In the place of numpy's array and of what builds it."""

    def __init__(self, *_of: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def floats(self) -> np.ndarray:
        """The array, of floating-point numbers; ValueError where it is none."""
        shape, kind, by_column, data = self._state()
        if not isinstance(kind, PickledKind) or kind.code not in FLOATS:
            raise ValueError("it holds an array of something else than floating-point numbers.")
        if kind.order not in ("<", ">", "=") or not isinstance(data, bytes):
            raise ValueError("it holds an array whose bytes are not of the expected form.")
        flat = np.frombuffer(data, f"{kind.order}{kind.code}")
        return flat.reshape(shape, order="F" if by_column else "C")

    def single(self) -> Any:
        """The one object of an array of objects without dimensions; ValueError for others."""
        shape, _, _, objects = self._state()
        if shape != () or not isinstance(objects, list) or len(objects) != 1:
            raise ValueError("it holds an array of several objects, not one.")
        return objects[0]

    def _state(self) -> tuple[Any, Any, Any, Any]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("it holds an array whose state is not of the expected form.")
        _, shape, kind, by_column, data = self.state
        return shape, kind, by_column, data


STAND_INS: dict[str, type] = {
    "numpy.ndarray": PickledArray,
    "numpy.dtype": PickledKind,
    "numpy.core.multiarray._reconstruct": PickledArray,  # numpy 1 wrote this path
    "numpy._core.multiarray._reconstruct": PickledArray,
}
"""The names that such a pickle may ask for, and what it gets."""
