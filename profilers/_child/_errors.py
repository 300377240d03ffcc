"""What a child process tells its parent in its own words."""


class UnusableModelError(Exception):
    """The model, or an input for it, cannot be used: becomes `ModelError` in the parent."""


class ProviderError(Exception):
    """What was to run the model is not there or does not load: the same in the parent."""
