"""The napari side of the package: nothing below it knows napari."""
