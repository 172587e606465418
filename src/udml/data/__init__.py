"""From files to a catalogue, a pixel store and a verdict on both. No torch."""
