"""Recipe of the artifact ``photographs``: faces, readable text and people vanish from photographs, the scene stays."""
