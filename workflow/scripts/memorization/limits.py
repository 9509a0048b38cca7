"""The limits that the plan and the scripts of the figures both keep.

The module imports nothing, so that a figure's script can import it without pydantic.
"""

# More conditions than this cannot be told apart in one figure: their colours, markers and panels do not suffice.
MAX_CONDITIONS_OF_FIGURE = 60


def too_many_conditions(number: int) -> str:
    """Return one line that says why a figure of ``number`` conditions is refused."""
    return (
        f"{number} conditions in one figure cannot be read; split the experiment "
        f"(at most {MAX_CONDITIONS_OF_FIGURE})"
    )
