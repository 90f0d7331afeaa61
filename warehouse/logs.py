"""What a program that failed says of itself."""

_SIGNS = ("FATAL:", "PANIC:", "Error:", "ERROR:", "error:", "could not", "cannot")


def first_error(text: str) -> str:
    """The first line that says what is wrong: what follows it are consequences. Without one, the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for sign in _SIGNS:
        for line in lines:
            if sign in line:
                return line.split("] ", 1)[-1]
    return lines[-1] if lines else "it said nothing"
