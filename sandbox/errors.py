"""What the sandbox says when it cannot start or cannot do what it was told."""


class SandboxError(Exception):
    """The text is one sentence for the person at the terminal: what is wrong, where, and what is allowed."""
