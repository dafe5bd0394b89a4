"""A workshop: a named set of labs, one a student, raised a few at a time."""
