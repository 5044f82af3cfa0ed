"""Small data sets in the forms in which real ones are published, one module a form; `write` makes the folder."""
