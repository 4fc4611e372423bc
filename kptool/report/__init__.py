"""Presentation of results: figures, charts, tables, HTML pages."""
