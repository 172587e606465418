"""What people judged, brought to versions and to the gate."""
