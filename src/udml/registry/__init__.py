"""Immutable versions of what serves: model, index, metrics; one of them is the champion."""
