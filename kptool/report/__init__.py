"""Results as people look at them: figures, tables, charts, pages."""
