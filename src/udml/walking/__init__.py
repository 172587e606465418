"""The one walker of folders: what is looked at, what is left out, and what is said of it."""
