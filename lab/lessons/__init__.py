"""The course: lessons in Markdown whose commands run and whose outputs are compared (docs/workshop)."""
