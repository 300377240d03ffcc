"""What a child process tells its parent in its own words."""


class UnusableModelError(Exception):
    """The model, or an input for it, cannot be used: becomes `ModelError` in the parent."""
