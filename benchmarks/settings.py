"""What several benchmarks take for granted; nothing is imported for it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = 240
STORE_PX = {96: 160, 224: 256}  # shorter side that is stored, or decoded to, for each input size
SEARCH_BATCH = 32
