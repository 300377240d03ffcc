"""The score of an artefact's outputs, with its interval."""
