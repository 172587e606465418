"""What single file formats need beside the one decoder: their kinds, their damage, their names."""
