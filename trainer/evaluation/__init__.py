"""Measuring what a protector hides and keeps."""
