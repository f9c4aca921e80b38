"""Chat models and Runnables whose every entry point protects first."""
