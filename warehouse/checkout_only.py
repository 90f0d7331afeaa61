"""truebar runs from its checkout: an editable install is made, a wheel is refused. See docs/decisions/0007."""

from setuptools.command.bdist_wheel import bdist_wheel


class RefusedWheel(bdist_wheel):
    """What `pip install .` asks setuptools for; `pip install -e .` does not."""

    def run(self) -> None:
        """Raises SystemExit with the sentence that pip shows."""
        raise SystemExit("truebar runs from its checkout and is not built into a wheel: use `make install`")
