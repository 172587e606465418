"""The page that shows what was learned."""
