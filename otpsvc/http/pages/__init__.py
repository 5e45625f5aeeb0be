"""The pages for people: `door` lets in, `code` and `address` act, `setting` and `stage` show."""
