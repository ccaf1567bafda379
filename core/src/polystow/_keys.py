"""Keys of a configuration in messages: where they stand, and what may have been meant."""

from collections.abc import Sequence


def join_path(path: str, key: str) -> str:
    """`key` below `path`."""
    return f"{path}.{key}" if path else key


def suggestion(key: str, known: Sequence[str]) -> str:
    """What may have been meant: `; did you mean 'region'?`, or the list of what is known."""
    from difflib import get_close_matches  # for mistakes only

    close = get_close_matches(key, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""
