"""The lenses of a report: each looks at a subject and says what it saw, or why there was nothing to see."""
