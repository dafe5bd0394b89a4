"""The bundle: everything a lab needs, built from package mirrors alone, kept by content."""
