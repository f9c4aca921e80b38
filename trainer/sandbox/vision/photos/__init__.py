"""Parts of the photo model: detector of objects, scenes, colours, faces, and the questions that it understands."""
