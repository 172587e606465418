"""Filters on a collection in Milvus: what is known of images is kept there, a filter is asked of it here."""
