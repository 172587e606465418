"""What a catalogue must satisfy: rules, and Great Expectations to check them."""
