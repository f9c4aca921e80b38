"""Reports for people: terminal tables, HTML, charts, contact sheets."""
