"""Who is told how a run ended: an address, a command. Whatever becomes of it, the run goes on."""
